import { describe, expect, test } from 'vitest'
import { wrapApp } from '../../src/adapters/express.js'
import { expressVersions } from '../support/express-versions.js'
import { guarded, type Handler } from '../support/guarded.js'
import { listen } from '../support/proxy.js'
import { rawRequest } from '../support/raw-client.js'
import { eventStream } from '../support/wire.js'

const refused = {
  error: { message: 'Incorrect API key provided: sk-1', type: 'authentication_error', code: 401 },
}
const json = JSON.stringify(refused)

async function ask(handler: Handler) {
  await using server = await guarded(handler)
  using client = await rawRequest({ port: server.port, body: { stream: true } }).finished()
  return { client, ends: server.ends }
}

const [, express] = expressVersions[0] as (typeof expressVersions)[0]

/** A handler that fails after it has written half of its upstream's document. */
function onExpress(half: string) {
  const app = express()
  app.post('/v1/chat/completions', (_request, response, next) => {
    response.setHeader('Content-Type', 'text/event-stream')
    response.write(half)
    next(new Error('the upstream broke'))
  })
  app.set('env', 'test')
  return wrapApp(app as never)
}

describe('JSON under the name of an event stream', () => {
  test.each<[string, (response: Parameters<Handler>[1]) => void]>([
    ['in one piece', (response) => void response.end(json)],
    ['as bytes', (response) => void response.end(Buffer.from(json))],
    [
      'written, then ended',
      (response) => {
        response.write(json)
        response.end()
      },
    ],
    ['in hex', (response) => void response.end(Buffer.from(json).toString('hex'), 'hex')],
    ['with its own length', (response) => void response.setHeader('Content-Length', json.length).end(json)],
  ])('an error has its status, while the head is unsent: %s', async (_what, send) => {
    const { client, ends } = await ask((_request, response) =>
      send(response.setHeader('Content-Type', 'text/event-stream')),
    )
    expect(client.status).toBe(401)
    expect(client.header('content-type')).toContain('application/json')
    expect(client.json.error.code).toBe('upstream_error')
    expect(client.bodyText).not.toContain('sk-1')
    expect(ends).toMatchObject([{ outcome: 'upstream_error', status: 401 }])
  })

  test('in pieces it arrives as it is', async () => {
    const { client } = await ask((_request, response) => {
      response.setHeader('Content-Type', 'text/event-stream')
      for (const each of json) response.write(each)
      response.end()
    })
    expect(client.bodyText).toBe(json)
  })

  test('a text that begins with a bracket arrives as it is written, and is not a failure', async () => {
    await using server = await guarded((_request, response) => {
      response.setHeader('Content-Type', 'text/event-stream').write('[token 0] some text\n')
    })
    using client = rawRequest({ port: server.port, body: { stream: true } })
    await client.received('[token 0] some text\n')
  })

  test('half of one, and then the page of the app: as without the guard', async () => {
    const half = '{"error":{"message":"half of an upstre'
    await using server = await listen(onExpress(half))
    using client = await rawRequest({ port: server.port, body: { stream: true } }).finished()
    expect(client.bodyText.startsWith(half)).toBe(true)
    expect(client.header('content-length')).toBeUndefined()
  })

  test('one that names no status is a 502', async () => {
    const { client } = await ask((_request, response) => {
      response.setHeader('Content-Type', 'text/event-stream').end('{"error":"no"}')
    })
    expect(client.status).toBe(502)
  })

  test('once the head is out it arrives as it is, and the record says that it was an error', async () => {
    const { client, ends } = await ask((_request, response) => {
      response.writeHead(200, eventStream)
      for (const each of json) response.write(each)
      response.end()
    })
    expect(client.bodyText).toBe(json)
    expect(client.body.complete).toBe(true)
    expect(ends).toMatchObject([{ outcome: 'upstream_error', status: 200 }])
  })

  test.each([
    ['an answer', '{"choices":[]}'],
    ['what is no JSON in the end', '[info] hello'],
    ['a large one', JSON.stringify({ error: 'x'.repeat(100_000) })],
  ])('%s passes byte for byte, in whatever pieces', async (_what, body) => {
    const whole = await ask((_request, response) => {
      response.setHeader('Content-Type', 'text/event-stream').end(body)
    })
    const pieces = await ask((_request, response) => {
      response.setHeader('Content-Type', 'text/event-stream')
      let written = 0
      const next = () => {
        const piece = body.slice(written, written + 4_000)
        written += piece.length
        // A handler may wait for each write.
        if (piece) response.write(piece, next)
        else response.end()
      }
      next()
    })
    for (const { client } of [whole, pieces]) {
      expect(client.status).toBe(200)
      expect(client.bodyText).toBe(body)
    }
  })
})
