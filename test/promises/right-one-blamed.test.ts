import { once } from 'node:events'
import http, { type ServerResponse } from 'node:http'
import { expect, test } from 'vitest'
import { chatChunk, failureOf, textOf } from '../support/chat.js'
import { guarded } from '../support/guarded.js'
import { rawRequest } from '../support/raw-client.js'
import { type Script, startUpstream } from '../support/scripted-upstream.js'
import { eventStream } from '../support/wire.js'

type Handler = (url: string, response: ServerResponse) => unknown

const open: Script = (exchange) => exchange.open().data(chatChunk('Hel'))

/** Reads one chunk of the upstream, and passes it on. */
async function first(url: string, response: ServerResponse) {
  const { body } = await fetch(url, { method: 'POST' })
  const reader = (body as ReadableStream<Uint8Array>).getReader()
  response.write((await reader.read()).value)
  return reader
}

/** A loop that leaves before its upstream has ended lets go of it. */
async function brokenOff(chunks: AsyncIterable<Uint8Array>, response: ServerResponse) {
  try {
    for await (const chunk of chunks) {
      response.write(chunk)
      throw new Error('a bug of the app')
    }
  } catch {}
}

const cases: [string, Script, Handler, string][] = [
  [
    'a framework ends the response of a handler that threw',
    open,
    async (url, response) => {
      await first(url, response)
      response.end()
    },
    'internal',
  ],
  [
    'a framework destroys the response of a handler that threw',
    open,
    async (url, response) => {
      await first(url, response)
      response.destroy()
    },
    'internal',
  ],
  [
    'a framework ends the response of a loop over fetch that threw',
    open,
    async (url, response) => {
      await brokenOff((await fetch(url, { method: 'POST' })).body as ReadableStream<Uint8Array>, response)
      response.end()
    },
    'internal',
  ],
  [
    'a framework ends the response of such a loop with a text of its own',
    open,
    async (url, response) => {
      await brokenOff((await fetch(url, { method: 'POST' })).body as ReadableStream<Uint8Array>, response)
      response.end('Internal Server Error')
    },
    'internal',
  ],
  [
    'a framework ends the response of a loop over node:http that threw',
    open,
    async (url, response) => {
      const [upstream] = (await once(http.request(url, { method: 'POST' }).end(), 'response')) as [
        http.IncomingMessage,
      ]
      await brokenOff(upstream, response)
      response.end()
    },
    'internal',
  ],
  [
    'the handler lets go of one upstream, and the next ends early',
    (exchange) => exchange.open().data(chatChunk('Hel')).end(),
    async (url, response) => {
      const { body } = await fetch(url, { method: 'POST' })
      await body?.cancel()
      const reader = await first(url, response)
      while (!(await reader.read()).done);
      response.end()
    },
    'upstream_truncated',
  ],
  [
    'the upstream ends early, and the handler with it',
    (exchange) => exchange.open().data(chatChunk('Hel')).end(),
    (url, response) =>
      http
        .request(url, { method: 'POST' }, (upstream) =>
          upstream.on('data', (chunk) => response.write(chunk)).on('end', () => response.end()),
        )
        .end(),
    'upstream_truncated',
  ],
  [
    'the upstream ends early, and the loop over fetch with it',
    (exchange) => exchange.open().data(chatChunk('Hel')).end(),
    async (url, response) => {
      const reader = await first(url, response)
      for (let next = await reader.read(); !next.done; next = await reader.read()) response.write(next.value)
      response.end()
    },
    'upstream_truncated',
  ],
  [
    'the upstream resets, and the handler that hears of it ends',
    (exchange) => exchange.open().data(chatChunk('Hel')),
    (url, response) => {
      const end = () => void response.end()
      http
        .request(url, { method: 'POST' }, (upstream) =>
          upstream.on('data', (chunk) => response.write(chunk)).on('error', end),
        )
        .on('error', end)
        .end()
    },
    'upstream_hangup',
  ],
]

test.each(cases)('%s', async (_what, script, handler, outcome) => {
  await using upstream = await startUpstream(script)
  await using server = await guarded((_request, response) =>
    handler(upstream.url, response.writeHead(200, eventStream)),
  )
  using client = await rawRequest({ port: server.port, body: { stream: true } }).received('Hel')
  if (outcome === 'upstream_hangup') await (await upstream.exchange(0)).reset()
  await client.finished()
  expect(textOf(client.data)).toBe('Hel')
  expect(failureOf(client.data)).toBeDefined()
  expect(server.ends).toMatchObject([{ outcome }])
})
