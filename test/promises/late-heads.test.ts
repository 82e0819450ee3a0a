import { request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http'
import { gzipSync } from 'node:zlib'
import { getRequestListener } from '@hono/node-server'
import { describe, expect, test } from 'vitest'
import { guardStreams } from '../../src/adapters/express.js'
import { wrapApp } from '../../src/index.js'
import { chatAnswer, chatChunk, failureOf, textOf } from '../support/chat.js'
import { expressVersions } from '../support/express-versions.js'
import { guarded, type Handler } from '../support/guarded.js'
import { serveHttp1, serveHttp2 } from '../support/mounts.js'
import { listen } from '../support/proxy.js'
import { rawRequest } from '../support/raw-client.js'
import { startUpstream } from '../support/scripted-upstream.js'
import { eventStream, wire } from '../support/wire.js'
import { withResolvers } from '../support/with-resolvers.js'

/** How handlers answer an upstream that breaks, long after their head. */
const late: Record<string, (response: ServerResponse) => unknown> = {
  'writeHead and end': (response) =>
    response.writeHead(502, { 'Content-Type': 'text/plain' }).end('Bad gateway'),
  'statusCode, setHeader and end': (response) => {
    response.statusCode = 502
    response.setHeader('Content-Type', 'application/json')
    response.removeHeader('x-request-id')
    response.end('{"error":"upstream"}')
  },
  'a status and no body': (response) => {
    response.statusCode = 500
    response.end()
  },
  'early hints, which Node would write into the body': (response) => {
    response.writeEarlyHints?.({ link: '</a.css>; rel=preload' })
    response.appendHeader?.('x-late', '1')
    response.end('Something went wrong.')
  },
}

describe.each(Object.entries(late))('a handler answers a broken upstream with %s', (_how, answer) => {
  const relaying =
    (url: string): Handler =>
    (_request, response) => {
      const call = httpRequest(url, { method: 'POST', agent: false }, (body) => {
        response.writeHead(200, eventStream)
        body.on('data', (chunk) => response.write(chunk)).on('error', () => answer(response))
      })
      call.on('error', () => {}).end()
    }

  test('the client gets the error event, and the record the status that was sent', async () => {
    await using upstream = await startUpstream((exchange) => exchange.open().data(chatChunk('Hel')).reset())
    await using server = await guarded(relaying(upstream.url))
    using client = await rawRequest({ port: server.port, body: { stream: true } }).finished()
    expect(textOf(client.data.slice(0, 1))).toBe('Hel')
    expect(failureOf(client.data).code).toBe('connection_reset')
    expect(client.body.complete).toBe(true)
    expect(server.ends).toMatchObject([{ outcome: 'upstream_hangup', status: 200 }])
  })

  test('also over HTTP/2', async () => {
    await using upstream = await startUpstream((exchange) => exchange.open().data(chatChunk('Hel')).reset())
    await using server = await serveHttp2(wrapApp(relaying(upstream.url), { onEnd: () => true }))
    const client = await server.ask({ stream: true })
    const seen = await client.finished()
    expect(seen.text).toContain('connection_reset')
    expect(seen.ending).toBe('complete')
  })

  test('a client that left is not an error of the upstream, and ends no process', async () => {
    await using upstream = await startUpstream((exchange) => exchange.open().data(chatChunk('Hel')))
    const heard: string[] = []
    const closed = withResolvers<void>()
    await using server = await guarded((_request, response) => {
      const call = httpRequest(upstream.url, { method: 'POST', agent: false }, (body) => {
        response.writeHead(200, eventStream)
        body.on('error', () => {
          heard.push('error')
          answer(response)
        })
        body.on('close', closed.resolve)
        body.pipe(response)
      })
      call.on('error', () => heard.push('error of the request')).end()
    })
    const client = await rawRequest({ port: server.port, body: { stream: true } }).received('Hel')
    client.reset()
    await closed.promise
    expect(heard).toEqual([])
    await (await upstream.exchange(0)).closed
  })

  test('a client that left, in a handler that hears of it from elsewhere', async () => {
    const left = withResolvers<void>()
    await using server = await guarded((_request, response) => {
      response.writeHead(200, eventStream).write(wire(chatChunk('Hel')))
      response.on('close', () => {
        answer(response)
        left.resolve()
      })
    })
    const client = await rawRequest({ port: server.port, body: { stream: true } }).received('Hel')
    client.reset()
    await left.promise
  })
})

test.each(expressVersions)('%s: res.status(502).json() after the head', async (_name, express) => {
  await using upstream = await startUpstream((exchange) => exchange.open().data(chatChunk('Hel')).reset())
  const app = express().use(guardStreams({ onEnd: () => true }))
  app.post('/v1/chat/completions', (_request, response) => {
    const call = httpRequest(upstream.url, { method: 'POST', agent: false }, (body) => {
      response.setHeader('Content-Type', 'text/event-stream')
      body.on('error', () => void response.status(502).json({ error: 'upstream' })).pipe(response)
    })
    call.on('error', () => {}).end()
  })
  await using server = await serveHttp1(app)
  const client = await server.ask({ stream: true })
  const seen = await client.finished()
  expect(seen.text).toContain('connection_reset')
  expect(seen.ending).toBe('complete')
})

test('a header that is set late, and says nothing of a failure, changes nothing', async () => {
  await using server = await guarded((_request, response) => {
    response.writeHead(200, eventStream).write(wire(chatChunk('Hi')))
    response.setHeader('x-time', '5')
    response.end(wire(chatChunk('', 'stop'), '[DONE]'))
  })
  using client = await rawRequest({ port: server.port, body: { stream: true } }).finished()
  expect(client.data.at(-1)).toBe('[DONE]')
  expect(client.header('x-time')).toBeUndefined()
  expect(server.ends).toMatchObject([{ outcome: 'completed' }])
})

describe('arguments of end() are passed on, in every form', () => {
  const all = wire(...chatAnswer('Hi'))
  test.each<[string, [string | Buffer, BufferEncoding?]]>([
    ['a byte order mark', [Buffer.from(`\ufeff${all}`)]],
    ['an unknown field first', [`x-trace: 1\n${all}`]],
    ['hex', [Buffer.from(all).toString('hex'), 'hex']],
    ['base64', [Buffer.from(all).toString('base64'), 'base64']],
    ['base64url', [Buffer.from(all).toString('base64url'), 'base64url']],
    ['latin1', [all, 'latin1']],
  ])('%s', async (_form, args) => {
    await using server = await guarded((_request, response) => {
      response.writeHead(200, eventStream).end(...(args as [string]))
    })
    using client = await rawRequest({ port: server.port, body: { stream: true } }).finished()
    expect(textOf(client.data)).toBe('Hi')
    expect(client.data.at(-1)).toBe('[DONE]')
    expect(server.ends).toMatchObject([{ outcome: 'completed' }])
  })

  test('a sentence of the proxy’s own is none of it', async () => {
    await using server = await guarded((_request, response) => {
      response.writeHead(200, eventStream).write(wire(chatChunk('Hi')))
      response.end('Error occurred while trying to proxy')
    })
    using client = await rawRequest({ port: server.port, body: { stream: true } }).finished()
    expect(client.bodyText).not.toContain('Error occurred')
    expect(failureOf(client.data).code).toBe('connection_reset')
  })
})

test('nothing follows the terminal event, also not in the same write', async () => {
  const answer = wire(...chatAnswer('Hi'))
  await using server = await guarded((_request, response) => {
    response.writeHead(200, eventStream).end(`${answer}${wire(chatChunk('late'), '[DONE]')}`)
  })
  using client = await rawRequest({ port: server.port, body: { stream: true } }).finished()
  expect(client.bodyText).toBe(answer)
  expect(server.ends).toMatchObject([{ outcome: 'completed', bytes: Buffer.byteLength(answer) }])
})

describe('every stream is seen', () => {
  test.each([200, 201, 203, 299])('with the status %i', async (status) => {
    await using server = await guarded((_request, response) => {
      response.writeHead(status, eventStream).write(wire(chatChunk('Hi')))
      response.destroy(Object.assign(new Error('reset'), { code: 'ECONNRESET' }))
    })
    using client = await rawRequest({ port: server.port, body: { stream: true } }).finished()
    expect(client.status).toBe(status)
    expect(failureOf(client.data).code).toBe('connection_reset')
  })

  test.each(['data', 'event', 'id', 'retry', ':'])(
    'without a Content-Type, beginning with %s',
    async (field) => {
      const first = field === ':' ? ': hi\n\n' : field === 'data' ? '' : `${field}: 1\n`
      await using server = await guarded((_request, response) => {
        response.writeHead(200)
        response.write(`${first}${wire(chatChunk('Hi'))}`)
        response.destroy(Object.assign(new Error('reset'), { code: 'ECONNRESET' }))
      })
      using client = await rawRequest({ port: server.port, body: { stream: true } }).finished()
      expect(client.header('content-type')).toMatch(/^text\/event-stream/)
      expect(client.bodyText).toContain('connection_reset')
    },
  )

  test('without a Content-Type: JSON, or a request that wants no stream, is left alone', async () => {
    await using server = await guarded((request, response) => {
      response.writeHead(200)
      response.end(request.url === '/v1/chat/completions' ? '{"a":1}' : wire('x'))
    })
    using json = await rawRequest({ port: server.port, body: { stream: true } }).finished()
    expect(json.bodyText).toBe('{"a":1}')
    expect(json.header('content-type')).toBeUndefined()
    using other = await rawRequest({ port: server.port, method: 'GET', path: '/file' }).finished()
    expect(other.bodyText).toBe(wire('x'))
    expect(other.header('content-type')).toBeUndefined()
    expect(server.ends).toEqual([])
  })

  test('with headers that were copied from an upstream whose body fetch has decoded', async () => {
    const answer = wire(...chatAnswer('Hi'))
    await using upstream = await listen((_request, response) => {
      response.writeHead(200, { ...eventStream, 'Content-Encoding': 'gzip' }).end(gzipSync(answer))
    })
    await using server = await guarded(async (_request, response) => {
      const answered = await fetch(upstream.url)
      response.writeHead(200, Object.fromEntries(answered.headers))
      for await (const chunk of answered.body ?? []) response.write(chunk)
      response.end()
    })
    using client = await rawRequest({ port: server.port, body: { stream: true } }).finished()
    expect(client.header('content-encoding')).toBeUndefined()
    expect(client.bodyText).toBe(answer)
  })
})

test("a body whose length Hono's server has set past the headers: the client gets all of its ending", async () => {
  const handler = () => new Response(wire(chatChunk('Hel')), { headers: eventStream })
  await using server = await listen(wrapApp(getRequestListener(handler), { onEnd: () => true }))
  using client = await rawRequest({ port: server.port, body: { stream: true } }).finished()
  expect(client.header('content-length')).toBeUndefined()
  expect(failureOf(client.data).code).toBe('upstream_truncated')
})

test('an answer that was no stream breaks when its client leaves: the process lives', async () => {
  await using upstream = await startUpstream((exchange) =>
    exchange.open('Content-Type: application/x-ndjson').chunk('{"a":1}\n'),
  )
  let body: IncomingMessage | undefined
  await using server = await guarded((_request, response) => {
    const call = httpRequest(upstream.url, { method: 'POST', agent: false }, (answered) => {
      body = answered
      response.writeHead(200, { 'Content-Type': 'application/x-ndjson' })
      answered.pipe(response)
    })
    call.on('error', () => {}).end()
  })
  const client = await rawRequest({ port: server.port, body: { stream: true } }).received('{"a":1}')
  client.reset()
  await (await upstream.exchange(0)).socket
  await new Promise(setImmediate)
  const broken = body as IncomingMessage
  const closed = new Promise((resolve) => broken.once('close', resolve))
  // Without a listener of ours this error would end the process.
  broken.destroy(new Error('reset'))
  await closed
})
