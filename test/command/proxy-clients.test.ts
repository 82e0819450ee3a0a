import { describe, expect, test } from 'vitest'
import { startUpstream } from '../../src/testing/index.js'
import { dialectAnswers } from '../support/dialect-answers.js'
import { startProxied } from '../support/proxied.js'
import { realClients } from '../support/real-clients.js'

describe.each(Object.entries(realClients).filter(([, { dialect }]) => dialect in dialectAnswers))(
  '%s',
  (_name, { dialect, stream }) => {
    const { begun, rest } = dialectAnswers[dialect] as (typeof dialectAnswers)[string]
    const type = `Content-Type: ${dialect === 'ollama' ? 'application/x-ndjson' : 'text/event-stream'}`

    test('reads its stream, and of a reset', async () => {
      for (const isGood of [true, false]) {
        await using upstream = await startUpstream((exchange) => {
          exchange.open(type).chunk(begun.join(''))
          if (isGood) exchange.chunk(rest.join('')).end()
          else void exchange.reset()
        })
        await using proxy = await startProxied(upstream.url)
        let text = ''
        const done = stream(proxy.url, (piece) => {
          text += piece
        })
        if (isGood) await done
        else await expect(done).rejects.toThrow()
        expect(text).toEqual(isGood ? 'Hello' : expect.stringMatching(/^(Hel)?$/))
      }
    })
  },
)
