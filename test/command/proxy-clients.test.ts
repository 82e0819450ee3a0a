import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { beforeAll, describe, expect, test, vi } from 'vitest'
import {
  type AnswerShape,
  answers,
  type FaultName,
  faults,
  faultsOf,
  startUpstream,
} from '../../src/testing/index.js'
import { dialectAnswers } from '../support/dialect-answers.js'
import { startProxied } from '../support/proxied.js'
import { type RealClient, realClients } from '../support/real-clients.js'

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

/** It prints what comes. What its user can see is an error among that, or its exit status. */
const curl: RealClient = {
  dialect: 'openaiChat',
  async stream(url, onText) {
    const body = JSON.stringify({ model: 'test-model', stream: true, messages: [] })
    const child = spawn('curl', ['-sN', url + answers.openai.path, '-d', body])
    const [printed, [status]] = await Promise.all([text(child.stdout), once(child, 'close')])
    if (status !== 0) throw new Error(`curl ended with status ${status}`)
    for (const line of printed.split('\n')) {
      if (/^(data: )?\{"error":/.test(line)) throw new Error(line)
      if (line.startsWith('data: {')) onText(JSON.parse(line.slice(6)).choices[0].delta.content ?? '')
    }
  },
}

const named = (name: string) => realClients[name] as RealClient
const clients: [name: string, AnswerShape, RealClient][] = [
  ['openai', 'openai', named('openai 6')],
  ['curl -N', 'openai', curl],
  ['ollama-js', 'ollama', named('ollama')],
  ['@google/genai', 'gemini', named('@google/genai')],
]

/** What a client has been told when its stream is whole, in spite of the fault. */
const whole: Partial<Record<FaultName, string>> = {
  good: 'Hello',
  splitUtf8: 'Helloé😀',
  resetAfterEnd: 'Hello',
  keepsOpen: 'Hello',
  staleConnection: 'Hello',
}

/** ollama-js prints of each empty line that it is no JSON, and of an error without a type that it reads its text. */
const printedByOllama = ['invalid json: ', 'Getting text from response']

beforeAll(() => {
  const prints = (['log', 'warn'] as const).map((name) =>
    vi.spyOn(console, name).mockImplementation(() => {}),
  )
  return () => {
    const printed = prints.flatMap(({ mock }) => mock.calls.map(([first]) => first))
    for (const print of prints) print.mockRestore()
    for (const first of new Set(printed)) expect(printedByOllama).toContain(first)
  }
})

describe.each(clients)('%s', { concurrent: true }, (_name, shape, { stream }) => {
  test.each(Object.keys(faults) as FaultName[])('is not fooled by the fault %s', async (fault) => {
    await using upstream = await startUpstream(faultsOf(shape)[fault])
    const expected = whole[fault]
    // A machine that is busy may be late with a good answer; a failure may as well come early.
    const soon = { firstByteMs: 500, inactivityMs: 500, totalMs: 1_500 }
    const timeouts = expected === undefined ? soon : { inactivityMs: 2_000 }
    await using proxy = await startProxied(upstream.url, { timeouts })
    // Of this one, the second request finds what the first one has left.
    const requests = fault === 'staleConnection' ? 2 : 1
    for (let request = 1; request <= requests; request++) {
      let told = ''
      const done = stream(proxy.url, (piece) => {
        told += piece
      })
      if (expected === undefined) {
        await expect(done).rejects.toThrow()
        expect(told).toMatch(/^(Hel(lox*)?)?$/)
      } else {
        await done
        expect(told).toBe(expected)
      }
    }
  })
})
