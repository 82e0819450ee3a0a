import { request as httpRequest, type IncomingMessage } from 'node:http'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type DialectAnswer, dialectAnswers } from '../support/dialect-answers.js'
import { type PageEvent, readAsPage } from '../support/event-source.js'
import { guarded } from '../support/guarded.js'
import { startProxy, upstreamClients } from '../support/proxy.js'
import { rawRequest } from '../support/raw-client.js'
import { startUpstream } from '../support/scripted-upstream.js'
import { wire } from '../support/wire.js'

const typeOf = (name: string) => (name === 'ollama' ? 'application/x-ndjson' : 'text/event-stream')

/** The good responses of an API: as a stream, and as one document. */
const bodies = Object.entries(dialectAnswers).flatMap(
  ([name, { path, begun, rest }]: [string, DialectAnswer]) => {
    const stream = [...begun, ...rest].join('').replaceAll('Hel', 'H\u00e9 \u65e5\u672c \u{1f388}')
    const document = JSON.stringify({ name, stream }, null, 1)
    return [
      { path, type: typeOf(name), body: Buffer.from(stream) },
      {
        path,
        type: 'text/event-stream',
        body: Buffer.from(stream.replaceAll('\n', '\r\n')),
        isSse: name !== 'ollama',
      },
      { path, type: 'application/json', body: Buffer.from(document) },
      { path, type: 'application/json', body: Buffer.from(`[${document}\n,${document}]`) },
    ].filter(({ isSse = true }) => isSse)
  },
)
const binary = {
  path: '/model',
  type: 'application/vnd.amazon.eventstream',
  body: Buffer.from([0, 0, 255, 10, 10, 58]),
}

test('good responses pass the guard byte for byte, cut anywhere', {
  timeout: 60_000,
}, async () => {
  let given = { ...binary, cuts: [] as number[] }
  await using server = await guarded(async (_request, response) => {
    const { type, body, cuts } = given
    response.writeHead(200, { 'content-type': type })
    const fromStart = cuts.map((cut) => (cut < 0 ? Math.max(body.length + cut, 0) : cut % body.length))
    const places = [...new Set(fromStart)].sort((a, b) => a - b)
    for (const [index, place] of places.entries()) {
      response.write(body.subarray(places[index - 1] ?? 0, place))
      await new Promise(setImmediate)
    }
    response.end(body.subarray(places.at(-1) ?? 0))
  })
  // The ends of bodies, from which these are counted back, have the most rules.
  const cuts = fc.array(fc.oneof(fc.nat(), fc.integer({ min: -6, max: -1 })), { maxLength: 12 })
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...bodies, binary), cuts, async (answer, pieces) => {
      given = { ...answer, cuts: pieces }
      using client = await rawRequest({
        port: server.port,
        path: answer.path,
        body: { stream: true },
      }).finished()
      expect(client.body.bytes.toString('latin1')).toBe(answer.body.toString('latin1'))
      expect(client.header('content-type')).toBe(answer.type)
    }),
    { numRuns: 400, seed: 1 },
  )
  expect(server.ends.map(({ outcome }) => outcome).filter((outcome) => outcome !== 'completed')).toEqual([])
})

/** Every form that the specification allows, and the ones that it only tolerates. */
const lines = fc.array(
  fc.tuple(
    fc.oneof(
      {
        weight: 3,
        arbitrary: fc.string({ unit: 'binary' }).map((text) => `data: ${text.replace(/[\r\n]/g, ' ')}`),
      },
      { weight: 2, arbitrary: fc.json().map((json) => `data:${json}`) },
      { weight: 3, arbitrary: fc.constant('') },
      fc.constantFrom(
        'data',
        'data:',
        ':',
        ': ping',
        'id: 7',
        'id: a\0b',
        'event: x',
        'event',
        'retry: 9',
        'a: b',
        'x',
      ),
    ),
    fc.constantFrom('\n', '\r\n', '\r'),
  ),
  { maxLength: 20 },
)
const streams = fc
  .tuple(fc.nat(2), lines, fc.constantFrom('', 'data: 1', 'data: {"a', 'event: y'))
  .map(([marks, all, rest]) => Buffer.from(`${'\ufeff'.repeat(marks)}${all.flat().join('')}${rest}`))

/** Events that an upstream forgot to end: unhang ends them if their data is whole JSON. The specification drops them. */
function withLeniency(body: Buffer): PageEvent[] {
  const strict = readAsPage(body)
  const [last, ...more] = readAsPage(Buffer.concat([body, Buffer.from('\n\n')])).slice(strict.length)
  return last && more.length === 0 && isWholeJson(last.data) ? [...strict, last] : strict
}

/** A number may go on: no reader knows whether more digits were to come. */
function isWholeJson(text: string): boolean {
  try {
    return typeof JSON.parse(text) !== 'number'
  } catch {
    return false
  }
}

test('a relayed stream says what a direct connection would say, whatever it is and however it is cut', {
  timeout: 60_000,
}, async () => {
  let pieces: Buffer[] = []
  await using upstream = await startUpstream((exchange) => {
    exchange.open()
    for (const piece of pieces) exchange.chunk(piece)
    exchange.end()
  })
  await using proxy = await startProxy((stream) => stream.relay(upstreamClients.http(upstream.url, stream)), {
    dialect: 'plain',
  })
  await fc.assert(
    fc.asyncProperty(
      streams,
      fc.array(fc.integer({ min: 1, max: 30 }), { maxLength: 8 }),
      async (body, cuts) => {
        const expected = withLeniency(body)
        // Nothing at all is a failure, and an error in the first event one with a status.
        fc.pre(expected.length > 0 && !expected[0]?.data.includes('"error"'))
        pieces = []
        let at = 0
        for (const cut of [...cuts, body.length]) {
          if (at < body.length) pieces.push(body.subarray(at, at + cut))
          at += cut
        }
        using client = await rawRequest({ port: proxy.port, path: '/events', body: {} }).finished()
        expect(client.body.complete).toBe(true)
        expect(readAsPage(client.body.bytes)).toEqual(expected)
      },
    ),
    { numRuns: 200, seed: 1 },
  )
})

/** Long enough for all of them to be far more than may be held. */
const text = 'a piece of something '.repeat(15)

describe.each([
  ['server-sent events', 'text/event-stream', wire({ n: 1, text })],
  ['JSON lines', 'application/x-ndjson', `${JSON.stringify({ n: 1, text })}\n`],
])('a million %s', (_name, type, event) => {
  const perChunk = 1_000
  const chunk = Buffer.from(event.repeat(perChunk))

  test('go through a relay in bounded memory', { timeout: 60_000 }, async () => {
    let mostBytes = 0
    async function* upstream() {
      for (let chunks = 0; chunks < 1_000_000 / perChunk; chunks++) {
        yield chunk
        mostBytes = Math.max(mostBytes, process.memoryUsage().arrayBuffers + process.memoryUsage().heapUsed)
      }
    }
    const before = process.memoryUsage().arrayBuffers + process.memoryUsage().heapUsed
    await using proxy = await startProxy((stream) =>
      stream.relay({ status: 200, headers: { 'content-type': type }, data: upstream() }),
    )
    const answer = await new Promise<IncomingMessage>((resolve) =>
      httpRequest(proxy.url, { method: 'POST' }).on('response', resolve).end(),
    )
    let bytes = 0
    for await (const piece of answer) bytes += piece.length
    expect(bytes).toBe(event.length * 1_000_000)
    expect(await proxy.end()).toMatchObject({ outcome: 'completed', events: 1_000_000 })
    // Garbage included, of which Node 24 leaves more lying about; all of them are 340 MB.
    expect(mostBytes - before).toBeLessThan(250 * 1024 * 1024)
  })
})
