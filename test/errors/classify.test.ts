import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import axios from 'axios'
import got from 'got'
import nodeFetch from 'node-fetch'
import { interceptors, Agent as UndiciAgent, request as undiciRequest } from 'undici'
import { describe, expect, test } from 'vitest'
import { toStreamError } from '../../src/errors/classify.js'
import { isSocketHangUp, isStreamError, StreamError } from '../../src/index.js'
import { type Script, startUpstream } from '../support/scripted-upstream.js'

/** The errors of each client whose response cannot be had, or not to the end. */
const callers: Record<string, (url: string, signal?: AbortSignal) => Promise<unknown>> = {
  'node:http': async (url, signal) => {
    const { request } = await import('node:http')
    const call = request(url, { signal }).end()
    const [response] = await once(call, 'response')
    // From Node 24 on a reset is told here as well.
    call.on('error', () => {})
    for await (const _ of response);
  },
  axios: async (url, signal) => {
    const { data } = await axios.get(url, { responseType: 'stream', signal })
    for await (const _ of data);
  },
  'axios json': async (url, signal) => axios.get(url, { signal }),
  fetch: async (url, signal) => (await fetch(url, { signal: signal ?? null })).text(),
  undici: async (url, signal) => (await undiciRequest(url, { signal })).body.text(),
  got: async (url, signal) => got(url, { retry: { limit: 0 }, signal }).text(),
  'node-fetch': async (url, signal) => (await nodeFetch(url, { signal: signal as never })).text(),
}

async function thrownBy(call: (url: string) => Promise<unknown>, script: Script): Promise<unknown> {
  await using upstream = await startUpstream(script)
  return await call(upstream.url).then(
    () => expect.unreachable('the call should have failed'),
    (error: unknown) => error,
  )
}

describe.each(Object.entries(callers))('%s', (_name, call) => {
  test.each<[string, Script]>([
    ['FIN before the head', (exchange) => exchange.fin()],
    ['FIN inside the head', (exchange) => exchange.raw('HTTP/1.1 200').fin()],
    ['a reset before the head', (exchange) => exchange.reset()],
    ['FIN mid-body', (exchange) => exchange.open().chunk('x').fin()],
    ['a reset mid-body', (exchange) => exchange.open().chunk('x').reset()],
    [
      'less than the content-length',
      (exchange) => exchange.raw('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx').fin(),
    ],
  ])('%s is a hang-up', async (_what, script) => {
    const error = await thrownBy(call, script)
    expect(toStreamError(error)).toMatchObject({
      outcome: 'upstream_hangup',
      code: 'connection_reset',
      cause: error,
    })
    expect(isSocketHangUp(error)).toBe(true)
  })

  test('a head that is too large is not a readable answer', async () => {
    const error = await thrownBy(call, (exchange) =>
      exchange.raw(`HTTP/1.1 200 OK\r\nX-Large: ${'x'.repeat(100_000)}\r\n\r\n`),
    )
    expect(toStreamError(error)).toMatchObject({ outcome: 'upstream_protocol', status: 502 })
  })

  test('a refused connection is none', async () => {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    await new Promise((resolve) => server.close(resolve))
    const error = await call(`http://127.0.0.1:${port}`).catch((thrown: unknown) => thrown)
    expect(toStreamError(error)).toMatchObject({ outcome: 'upstream_connect', status: 503, retryable: true })
  })

  test('our own abort is none', async () => {
    const controller = new AbortController()
    await using upstream = await startUpstream(() => controller.abort(new StreamError('client_gone')))
    const error = await call(upstream.url, controller.signal).catch((thrown: unknown) => thrown)
    expect(isSocketHangUp(error)).toBe(false)
    expect(['client_gone', 'aborted']).toContain(toStreamError(error).outcome)
  })

  test('an abort of other code is an abort', async () => {
    const controller = new AbortController()
    await using upstream = await startUpstream(() => controller.abort())
    const error = await call(upstream.url, controller.signal).catch((thrown: unknown) => thrown)
    expect(toStreamError(error).outcome).toBe('aborted')
  })
})

const following: Record<string, (url: string) => Promise<unknown>> = {
  axios: (url) => axios.get(url, { responseType: 'stream' }),
  fetch: (url) => fetch(url),
  undici: (url) => {
    const dispatcher = new UndiciAgent().compose(interceptors.redirect({ maxRedirections: 3 }))
    const options = { dispatcher, throwOnMaxRedirect: true }
    return undiciRequest(url, options)
  },
  got: (url) => got(url, { retry: { limit: 0 } }),
  'node-fetch': (url) => nodeFetch(url),
}

describe.each(Object.entries(following))('%s: an upstream that sends it', (_name, call) => {
  test.each<[string, Script]>([
    ['round in circles', (exchange) => exchange.answer('302 Found', '', 'Location: /again')],
    ['ever on', (exchange) => exchange.answer('302 Found', '', `Location: ${exchange.head.split(' ')[1]}on`)],
  ])('%s', async (_where, script) => {
    const error = await thrownBy(call, script)
    expect(toStreamError(error)).toMatchObject({ outcome: 'upstream_protocol', status: 502 })
  })
})

/** Each message is one that Deno 2.9 gave for the fault before it. */
test.each<[string, Error, string]>([
  ['a reset before the head', failedFetch('Connection reset by peer (os error 104)'), 'upstream_hangup'],
  [
    'FIN before the head',
    failedFetch(
      'error sending request for http://x/: client error (SendRequest): connection closed before message completed',
    ),
    'upstream_hangup',
  ],
  ['any break mid-body', new TypeError('error reading a body from connection'), 'upstream_hangup'],
  [
    'a name that does not resolve',
    failedFetch(
      'error sending request for url (http://x/): client error (Connect): dns error: failed to lookup address information',
    ),
    'upstream_connect',
  ],
  [
    'a head that is too large',
    failedFetch('error sending request for http://x/: client error (SendRequest): message head is too large'),
    'upstream_protocol',
  ],
  [
    'redirects in circles',
    new TypeError('Fetch failed: Maximum number of redirects (20) reached'),
    'upstream_protocol',
  ],
])('Deno, %s', (_what, error, outcome) => {
  expect(toStreamError(error)).toMatchObject({ outcome })
})

function failedFetch(message: string): Error {
  return new TypeError('fetch failed', { cause: new Error(message) })
}

test.each(['axios', 'axios json', 'got'])('%s: an error status is the upstream’s answer', async (name) => {
  // axios throws for a status with its body still open, got with it read.
  const call = callers[name] as (url: string) => Promise<unknown>
  const error = await thrownBy(call, (exchange) => exchange.answer('429 Slow Down', '{}', 'Retry-After: 9'))
  expect(toStreamError(error)).toMatchObject({ outcome: 'upstream_error', status: 429, retryAfter: '9' })
})

describe('classification', () => {
  test.each<[unknown, string, number]>([
    [Object.assign(new Error('x'), { code: 'EPROTO' }), 'upstream_connect', 502],
    [Object.assign(new Error('x'), { code: 'DEPTH_ZERO_SELF_SIGNED_CERT' }), 'upstream_connect', 502],
    [Object.assign(new Error('x'), { code: 'ERR_TLS_CERT_ALTNAME_INVALID' }), 'upstream_connect', 502],
    [Object.assign(new Error('x'), { code: 'HPE_INVALID_CONSTANT' }), 'upstream_protocol', 502],
    [Object.assign(new Error('x'), { code: 'Z_DATA_ERROR' }), 'upstream_protocol', 502],
    [Object.assign(new Error('x'), { code: 'UND_ERR_HEADERS_TIMEOUT' }), 'timeout', 504],
    [Object.assign(new Error('x'), { code: 'ETIMEDOUT' }), 'timeout', 504],
    [Object.assign(new Error('x'), { code: 'ETIMEDOUT', syscall: 'connect' }), 'timeout', 504],
    [Object.assign(new Error('x'), { code: 'ETIMEDOUT', syscall: 'read' }), 'upstream_hangup', 503],
    [Object.assign(new Error('x'), { code: 'EHOSTUNREACH', syscall: 'connect' }), 'upstream_connect', 503],
    [Object.assign(new Error('x'), { code: 'EHOSTUNREACH', syscall: 'read' }), 'upstream_hangup', 503],
    [new DOMException('x', 'TimeoutError'), 'timeout', 504],
    [
      new TypeError('fetch failed', { cause: Object.assign(new Error(), { code: 'ENOTFOUND' }) }),
      'upstream_connect',
      503,
    ],
    [new AggregateError([Object.assign(new Error(), { code: 'ECONNREFUSED' })]), 'upstream_connect', 503],
    [new Error('socket hang up'), 'internal', 500],
    ['a string', 'internal', 500],
    [undefined, 'internal', 500],
    [null, 'internal', 500],
    [{ code: '__proto__' }, 'internal', 500],
    [{ code: 'constructor' }, 'internal', 500],
  ])('%s is %s', (error, outcome, status) => {
    expect(toStreamError(error)).toMatchObject({ outcome, status })
  })

  test('a cycle of causes ends', () => {
    const first = new Error('first')
    first.cause = new Error('second', { cause: first })
    expect(toStreamError(first).outcome).toBe('internal')
  })

  test('an error of ours stays what it is, also inside another and from another copy', () => {
    const ours = new StreamError('upstream_truncated')
    expect(toStreamError(ours)).toBe(ours)
    expect(toStreamError(new Error('wrapped', { cause: ours }))).toBe(ours)
    expect(isStreamError(ours)).toBe(true)
    expect(isStreamError(new Error('x'))).toBe(false)
    expect(isStreamError({ [Symbol.for('unhang.StreamError')]: true })).toBe(true)
  })

  test('an http-errors kind of error shows what its author meant to show', () => {
    const refused = Object.assign(new Error('Too big.'), { expose: true, status: 413 })
    expect(toStreamError(refused)).toMatchObject({ status: 413, message: 'Too big.' })
    const hidden = Object.assign(new Error('secret'), { expose: false, status: 500 })
    expect(toStreamError(hidden).message).toBe('The server met an internal error.')
  })
})
