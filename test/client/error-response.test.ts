import express from 'express'
import { describe, expect, test } from 'vitest'
import {
  createSSEWriter,
  handleSocketHangUp,
  relayEventStream,
  respondWithError,
  StreamError,
  UpstreamError,
} from '../../src/index.js'
import { listen } from '../support/proxy.js'
import { rawRequest } from '../support/raw-client.js'
import { startUpstream } from '../support/scripted-upstream.js'

describe('handleSocketHangUp', () => {
  const hangUp = Object.assign(new Error('socket hang up'), { code: 'ECONNRESET' })

  test('before the head: 503 with JSON, and the connection stands', async () => {
    await using server = await listen((_request, response) => {
      response
        .setHeader('ETag', 'x')
        .setHeader('Content-Type', 'text/plain')
        .setHeader('Content-Encoding', 'gzip')
      expect(handleSocketHangUp(hangUp, response)).toBe(true)
    })
    using client = await rawRequest({ port: server.port }).finished()
    expect(client.status).toBe(503)
    expect(client.header('retry-after')).toBe('1')
    expect(client.header('etag')).toBeUndefined()
    expect(client.header('content-encoding')).toBeUndefined()
    expect(client.json.error).toEqual({
      message: 'The upstream closed the connection before the answer was complete.',
      type: 'server_error',
      param: null,
      code: 'connection_reset',
    })
    expect(client.ending).toBeUndefined()
  })

  test('in an event stream: the error event and a clean end, also in the middle of an event', async () => {
    await using server = await listen((_request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.write('data: whole\n\ndata: half')
      handleSocketHangUp(hangUp, response)
    })
    using client = await rawRequest({ port: server.port }).finished()
    expect(client.body.complete).toBe(true)
    expect(JSON.parse(client.data.at(-1) ?? '')).toMatchObject({
      error: { code: 'connection_reset' },
      choices: [{ delta: { role: 'error', content: '' }, finish_reason: 'error' }],
    })
  })

  test('beside a writer: the events that were written come first', async () => {
    await using upstream = await startUpstream((exchange) => exchange.open().chunk('data: "Hello"\n\n').fin())
    await using server = await listen(async (_request, response) => {
      const writer = createSSEWriter(response)
      try {
        await relayEventStream(await fetch(upstream.url), writer)
      } catch (error) {
        handleSocketHangUp(error, response)
      }
    })
    using client = await rawRequest({ port: server.port }).finished()
    expect(client.status).toBe(200)
    expect(client.data[0]).toBe('"Hello"')
    expect(client.data[1]).toContain('connection_reset')
  })

  test('a HEAD request gets a head', async () => {
    await using server = await listen((_request, response) => void handleSocketHangUp(hangUp, response))
    using client = await rawRequest({ port: server.port, method: 'HEAD' }).received('\r\n\r\n')
    client.send({ method: 'HEAD' })
    await client.until(() => client.text.split('HTTP/1.1 503').length === 3)
    expect(client.text).not.toContain('connection_reset')
  })

  test('in any other body: a cut, which cannot be taken for the end', async () => {
    await using server = await listen((_request, response) => {
      response.writeHead(200, { 'content-type': 'application/json' })
      response.write('{"half":')
      handleSocketHangUp(hangUp, response)
    })
    using client = await rawRequest({ port: server.port }).closed()
    expect(client.body.complete).toBe(false)
  })

  test('anything else is left alone', async () => {
    await using server = await listen((_request, response) => {
      expect(handleSocketHangUp(new Error('other'), response)).toBe(false)
      response.end('mine')
    })
    using client = await rawRequest({ port: server.port }).finished()
    expect(client.bodyText).toBe('mine')
  })
})

describe('respondWithError', () => {
  test('a response that has ended, or whose client has left, is left alone', async () => {
    await using server = await listen((_request, response) => {
      response.end('done')
      respondWithError(new Error('late'), response)
    })
    using client = await rawRequest({ port: server.port }).finished()
    expect(client.bodyText).toBe('done')
  })

  test('an unread body does not keep the response from arriving', async () => {
    const app = express().post('/', (_request, response) =>
      respondWithError(new UpstreamError({ status: 413 }), response),
    )
    await using server = await listen(app)
    using client = await rawRequest({ port: server.port, path: '/', body: 'x'.repeat(5_000_000) }).finished()
    expect(client.status).toBe(413)
    expect(client.ending).toBeUndefined()
  })

  test('shutdown asks the client to come back on another connection', async () => {
    await using server = await listen((_request, response) =>
      respondWithError(new StreamError('shutdown'), response),
    )
    using client = await rawRequest({ port: server.port }).closed()
    expect(client.status).toBe(503)
    expect(client.header('connection')).toBe('close')
    expect(client.header('retry-after')).toBe('5')
    expect(client.ending).toBe('fin')
  })
})
