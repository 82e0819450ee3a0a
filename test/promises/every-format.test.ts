import { request as httpRequest, type IncomingMessage } from 'node:http'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type DialectAnswer, dialectAnswers } from '../support/dialect-answers.js'
import { guarded } from '../support/guarded.js'
import { startProxy } from '../support/proxy.js'
import { rawRequest } from '../support/raw-client.js'
import { wire } from '../support/wire.js'

const typeOf = (name: string) => (name === 'ollama' ? 'application/x-ndjson' : 'text/event-stream')

/** What an API sends where all goes well: as a stream, and as one document. */
const bodies = Object.entries(dialectAnswers).flatMap(
  ([name, { path, begun, rest }]: [string, DialectAnswer]) => {
    const stream = [...begun, ...rest].join('')
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

test('whatever goes well passes the guard byte for byte, in whatever pieces it is written', {
  timeout: 60_000,
}, async () => {
  let given = { ...binary, cuts: [] as number[] }
  await using server = await guarded(async (_request, response) => {
    const { type, body, cuts } = given
    response.writeHead(200, { 'content-type': type })
    let at = 0
    for (const cut of cuts) {
      response.write(body.subarray(at, at + cut))
      at += cut
      await new Promise(setImmediate)
    }
    response.end(body.subarray(at))
  })
  const cuts = fc.array(fc.integer({ min: 1, max: 60 }), { maxLength: 12 })
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
    { numRuns: 150 },
  )
  expect(server.ends.map(({ outcome }) => outcome).filter((outcome) => outcome !== 'completed')).toEqual([])
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
    expect(mostBytes - before).toBeLessThan(150 * 1024 * 1024)
  })
})
