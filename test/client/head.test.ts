import { expect, test } from 'vitest'
import { type EventStreamExchange, eventStreamHead } from '../../src/client/head.js'

function exchange(existing: EventStreamExchange['existing'] = {}, more: Partial<EventStreamExchange> = {}) {
  return { existing, httpVersion: '1.1', keepsAlive: true, keepAliveTimeoutMs: 5_000, ...more }
}

test('the defaults', () => {
  expect(eventStreamHead(exchange())).toEqual({
    set: {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache, no-transform',
      'x-accel-buffering': 'no',
      'x-content-type-options': 'nosniff',
    },
    remove: [],
  })
})

test('headers of the app stay; no-transform is added to its Cache-Control', () => {
  const { set } = eventStreamHead(
    exchange({
      'Content-Type': 'text/event-stream',
      'CACHE-CONTROL': 'no-store',
      'X-Accel-Buffering': 'yes',
      'X-Content-Type-Options': 'other',
    }),
  )
  expect(set).toEqual({ 'cache-control': 'no-store, no-transform' })
})

test('a content type that is none of an event stream is replaced', () => {
  const { set } = eventStreamHead(exchange({ 'content-type': 'text/html' }))
  expect(set['content-type']).toBe('text/event-stream; charset=utf-8')
})

test('headers that are untrue of a stream are removed', () => {
  const given = exchange({ 'Content-Length': '5', ETag: 'x', 'Transfer-Encoding': 'gzip, chunked' })
  const { remove, set } = eventStreamHead(given)
  // Taken away by us, Node would not write its own either.
  expect(remove.sort()).toEqual(['content-length', 'etag'])
  expect(set['transfer-encoding']).toBe('chunked')
  for (const httpVersion of ['1.0', '2.0']) {
    const head = eventStreamHead({ ...given, httpVersion })
    expect(head.remove.sort()).toEqual(['content-length', 'etag', 'transfer-encoding'])
    expect(head.set).not.toHaveProperty('transfer-encoding')
  }
})

test('Connection is never written on HTTP/1.1', () => {
  expect(eventStreamHead(exchange()).set).not.toHaveProperty('connection')
})

test('Connection: keep-alive of the app gets the hint that Node now leaves out', () => {
  expect(eventStreamHead(exchange({ Connection: 'keep-alive' })).set['keep-alive']).toBe('timeout=5')
})

test('Connection: keep-alive of the app gives way to a client that asked for close', () => {
  const { set } = eventStreamHead(exchange({ Connection: 'keep-alive' }, { keepsAlive: false }))
  expect(set).toMatchObject({ connection: 'close' })
  expect(set).not.toHaveProperty('keep-alive')
})

test('HTTP/1.0 is closed, HTTP/2 has no connection headers', () => {
  expect(eventStreamHead(exchange({}, { httpVersion: '1.0' })).set.connection).toBe('close')
  const { set } = eventStreamHead(exchange({}, { httpVersion: '2.0' }), {
    headers: { Connection: 'keep-alive' },
  })
  expect(set).not.toHaveProperty('connection')
  expect(set).not.toHaveProperty('keep-alive')
})

test('headers of the caller win; headers: false sets the type alone', () => {
  const { set } = eventStreamHead(exchange(), { headers: { 'X-Accel-Buffering': 'yes', 'X-Mine': '1' } })
  expect(set).toMatchObject({ 'x-accel-buffering': 'yes', 'x-mine': '1' })
  expect(eventStreamHead(exchange(), { headers: false }).set).toEqual({
    'content-type': 'text/event-stream; charset=utf-8',
  })
})

test('cors: off, any origin, or a list that is echoed; the app’s own policy stays', () => {
  const origin = 'https://chat.example'
  expect(eventStreamHead(exchange({}, { origin })).set).not.toHaveProperty('access-control-allow-origin')
  expect(eventStreamHead(exchange({}, { origin }), { cors: true }).set['access-control-allow-origin']).toBe(
    '*',
  )
  const listed = eventStreamHead(exchange({ Vary: 'Accept' }, { origin }), { cors: [origin] })
  expect(listed.set).toMatchObject({ 'access-control-allow-origin': origin, vary: 'Accept, Origin' })
  const stranger = eventStreamHead(exchange({}, { origin: 'https://evil.example' }), { cors: [origin] })
  expect(stranger.set).not.toHaveProperty('access-control-allow-origin')
  expect(stranger.set.vary).toBe('Origin')
  const own = eventStreamHead(exchange({ 'Access-Control-Allow-Origin': 'https://a' }, { origin }), {
    cors: true,
  })
  expect(own.set).not.toHaveProperty('access-control-allow-origin')
})
