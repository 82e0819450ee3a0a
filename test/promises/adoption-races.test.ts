import type { ServerResponse } from 'node:http'
import { describe, expect, test } from 'vitest'
import { chatAnswer, chatChunk, textOf } from '../support/chat.js'
import { guarded } from '../support/guarded.js'
import { rawRequest } from '../support/raw-client.js'
import { type Script, startUpstream } from '../support/scripted-upstream.js'
import { eventStream } from '../support/wire.js'

const chunks = (body: unknown) => body as AsyncIterable<Uint8Array>
const post = { method: 'POST', body: '{}' }

/** The fate of the call that has lost, by its exchange or by its own hand. */
type Loss = { begins?: true; by: 'reset' | 'fin' | 'abort' }

const losses: Record<string, Loss> = {
  'is aborted before its headers': { by: 'abort' },
  'is aborted after its headers': { begins: true, by: 'abort' },
  'breaks before its headers': { by: 'reset' },
  'breaks after its headers': { begins: true, by: 'reset' },
  'hangs up after its headers': { begins: true, by: 'fin' },
}

describe('Promise.any of two upstreams', () => {
  test.each(Object.entries(losses))('a loser that %s changes nothing', async (_how, { begins, by }) => {
    const losing = new AbortController()
    await using upstream = await startUpstream(() => {})
    await using server = await guarded(
      async (_request, response) => {
        const { body } = await Promise.any([
          fetch(`${upstream.url}/winner`, post),
          fetch(`${upstream.url}/loser`, { ...post, signal: losing.signal }),
        ])
        response.writeHead(200, eventStream)
        for await (const chunk of chunks(body)) response.write(chunk)
        response.end()
      },
      { adopt: { breakMs: 20 } },
    )
    using client = rawRequest({ port: server.port, body: { stream: true } })
    const exchanges = [await upstream.exchange(0), await upstream.exchange(1)]
    const of = (path: string) => exchanges.find(({ head }) => head.includes(path)) as (typeof exchanges)[0]
    const [winner, loser] = [of('/winner'), of('/loser')]
    winner.open().data(chatChunk('Hel'))
    await client.received('Hel')
    if (begins) loser.open().data(chatChunk('other'))
    // The winner's next piece comes after the loser's headers.
    winner.data(chatChunk('l'))
    await expect.poll(() => textOf(client.data)).toBe('Hell')
    if (by === 'abort') losing.abort()
    else await loser[by]()
    await loser.closed
    winner.data(...chatAnswer('o')).end()
    await client.finished()
    expect(textOf(client.data)).toBe('Hello')
    expect(client.data.at(-1)).toBe('[DONE]')
    await expect.poll(() => server.ends).toMatchObject([{ outcome: 'completed' }])
  })
})

/** A handler that has the headers of two upstreams, of which one breaks, and takes its ending from the other one. */
async function twoStreams(write: (response: ServerResponse, body: unknown) => unknown) {
  const begin: Script = (exchange) => exchange.open().data(chatChunk('Hel'))
  const upstream = await startUpstream(begin)
  const server = await guarded(async (_request, response) => {
    const lost = await fetch(`${upstream.url}/lost`, post)
    const good = await fetch(`${upstream.url}/good`, post)
    response.writeHead(200, eventStream).write(': here\n\n')
    await lost.text().catch(() => {})
    response.write(': lost\n\n')
    await write(response, good.body)
  })
  const client = await rawRequest({ port: server.port, body: { stream: true } }).received('here')
  await (await upstream.exchange(0)).reset()
  await client.received('lost')
  return {
    client,
    server,
    good: await upstream.exchange(1),
    async [Symbol.asyncDispose]() {
      client.socket.destroy()
      await server[Symbol.asyncDispose]()
      await upstream[Symbol.asyncDispose]()
    },
  }
}

describe('an ending is not made up after a break, if it is the one of another upstream', () => {
  test('that goes on', async () => {
    await using run = await twoStreams(async (response, body) => {
      for await (const chunk of chunks(body)) response.write(chunk)
    })
    run.good.data(...chatAnswer('lo'))
    await run.client.finished()
    expect(textOf(run.client.data)).toBe('Hello')
    expect(run.client.data.at(-1)).toBe('[DONE]')
  })

  test('that has ended', async () => {
    await using run = await twoStreams(async (response, body) => {
      let text = ''
      for await (const chunk of chunks(body)) text += Buffer.from(chunk)
      response.end(text)
    })
    run.good.data(...chatAnswer('lo')).end()
    await run.client.finished()
    expect(textOf(run.client.data)).toBe('Hello')
    expect(run.client.data.at(-1)).toBe('[DONE]')
    await expect.poll(() => run.server.ends).toMatchObject([{ outcome: 'completed' }])
  })
})
