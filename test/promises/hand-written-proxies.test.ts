import http, { type IncomingMessage, type ServerResponse } from 'node:http'
import { PassThrough, pipeline } from 'node:stream'
import { createGunzip, gzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { type StreamEnd, wrapApp } from '../../src/index.js'
import { faults, type UpstreamScript } from '../../src/testing/index.js'
import { chatAnswer, chatChunk, failureOf, textOf } from '../support/chat.js'
import { listen } from '../support/proxy.js'
import { rawRequest } from '../support/raw-client.js'
import { startUpstream } from '../support/scripted-upstream.js'

type Write = (answer: IncomingMessage, response: ServerResponse) => void

/** The stream that a client gets of a guarded proxy that forwards each chunk by hand. */
async function got(script: UpstreamScript, write: Write) {
  const ends: StreamEnd[] = []
  await using upstream = await startUpstream(script)
  const listener = wrapApp(
    (_request, response) => {
      const call = http.request(upstream.url, { method: 'POST' }, (answer) => {
        response.setHeader('Content-Type', 'text/event-stream')
        write(answer, response)
      })
      call.on('error', (error) => response.destroy(error)).end()
    },
    { onEnd: (end) => ends.push(end) },
  )
  await using server = await listen(listener)
  using client = await rawRequest({ port: server.port, body: { stream: true } }).finished()
  await expect.poll(() => ends).toHaveLength(1)
  return { data: client.data, end: ends[0] as StreamEnd }
}

const onChunks: Write = (answer, response) => {
  answer.on('data', (chunk) => response.write(chunk)).on('end', () => response.end())
  answer.on('error', (error) => response.destroy(error))
}

describe.each<[string, Write]>([
  ['chunks', onChunks],
  ['text', (answer, response) => onChunks(answer.setEncoding('utf8'), response)],
  ['pipeline', (answer, response) => pipeline(answer, new PassThrough(), response, () => {})],
])('an answer written on by hand, with the listener of the README: %s', (_way, write) => {
  test('a whole one', async () => {
    const { data, end } = await got(faults.good, write)
    expect(textOf(data)).toBe('Hello')
    expect(end).toMatchObject({ outcome: 'completed', suppressed: [] })
  })

  test.each(['resetMidStream', 'finMidStream'] as const)('one that hangs up: %s', async (fault) => {
    const { data, end } = await got(faults[fault], write)
    expect(failureOf(data).code).toBe('connection_reset')
    expect(end).toMatchObject({ outcome: 'upstream_hangup' })
  })
})

// Handlers that the guard must not take for ones with a broken upstream.
describe('a handler that is done with its upstream', () => {
  test('and replays what it has kept, loses nothing', async () => {
    const { data, end } = await got(faults.good, (answer, response) => {
      const kept: Buffer[] = []
      answer.on('data', (chunk) => kept.push(chunk))
      answer.on('end', async () => {
        for (const chunk of kept) {
          response.write(chunk)
          await new Promise(setImmediate)
        }
        response.end()
      })
    })
    expect(textOf(data)).toBe('Hello')
    expect(end.outcome).toBe('completed')
  })

  test('may destroy it, and go on with another', async () => {
    await using other = await startUpstream((exchange) =>
      exchange
        .open()
        .data(...chatAnswer('lo'))
        .end(),
    )
    const { data, end } = await got(
      (exchange) => exchange.open().data(chatChunk('Hel')),
      (answer, response) => {
        answer.once('data', (chunk) => {
          response.write(chunk)
          answer.destroy()
          http.get(other.url, (second) => onChunks(second, response)).on('error', () => {})
        })
      },
    )
    expect(textOf(data)).toBe('Hello')
    expect(end.outcome).toBe('completed')
  })

  test('may unpack it on the way', async () => {
    const events = chatAnswer('Hel', 'lo').map((event) =>
      typeof event === 'string' ? event : JSON.stringify(event),
    )
    const packed = gzipSync(events.map((event) => `data: ${event}\n\n`).join(''))
    const { data, end } = await got(
      (exchange) => exchange.open('Content-Encoding: gzip').chunk(packed).end(),
      (answer, response) => {
        const text = answer.pipe(createGunzip())
        text.on('data', (chunk) => response.write(chunk)).on('end', () => response.end())
      },
    )
    expect(textOf(data)).toBe('Hello')
    expect(end.outcome).toBe('completed')
  })
})
