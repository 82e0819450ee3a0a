import { readFile } from 'node:fs/promises'
import type { RequestListener } from 'node:http'
import { describe, expect, test } from 'vitest'
import type { RawRequest } from '../../src/testing/index.js'
import { chatPath, type Fixture, fixtures } from '../support/fixtures.js'
import { startOrigin } from '../support/origin.js'
import { listen } from '../support/proxy.js'
import { rawRequest } from '../support/raw-client.js'
import { expectHttpProxyWarning } from '../support/warnings.js'

const guide = (await readFile('docs/GUARD.md', 'utf8')).toLowerCase()
const wanted = { body: { stream: true } }
const multipart = [
  '--edge\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nassistants\r\n',
  '--edge\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\nContent-Type: text/plain\r\n\r\ndata: {"a":1}\n\n\r\n',
  '--edge--\r\n',
].join('')

/** Pages that worked before, with their status. */
const requests: Record<string, Omit<RawRequest, 'port'> & { status: number }> = {
  'a JSON answer to a request that wants a stream': { path: `${chatPath}?want=json`, ...wanted, status: 200 },
  'a refusal of the upstream': { path: `${chatPath}?want=refusal`, ...wanted, status: 429 },
  'bytes of another type': { path: `${chatPath}?want=bytes`, ...wanted, status: 200 },
  'a file': { method: 'GET', path: '/GUARD.md', status: 200 },
  'a file for a client that takes a stream, too': {
    method: 'GET',
    path: '/GUARD.md',
    headers: { Accept: 'text/event-stream, */*' },
    status: 200,
  },
  'a file that has not changed': {
    method: 'GET',
    path: '/GUARD.md',
    headers: { 'If-None-Match': '*' },
    status: 304,
  },
  'a range of a file': { method: 'GET', path: '/GUARD.md', headers: { Range: 'bytes=2-11' }, status: 206 },
  'a range that is none': {
    method: 'GET',
    path: '/GUARD.md',
    headers: { Range: 'bytes=9999999-' },
    status: 416,
  },
  'a head alone': { method: 'HEAD', path: '/GUARD.md', status: 200 },
  'a page that is not there': { method: 'GET', path: '/nowhere', status: 404 },
  'an upload of parts': {
    path: '/upload',
    headers: { 'Content-Type': 'multipart/form-data; boundary=edge' },
    body: multipart,
    status: 200,
  },
  'a large upload': {
    path: '/upload',
    headers: { 'Content-Type': 'application/octet-stream' },
    body: 'x'.repeat(900_000),
    status: 200,
  },
}

/** A response to `HEAD` has a length and no body: the connection, which is asked to close, ends it. */
async function ask(port: number, { headers, ...request }: Omit<RawRequest, 'port'>) {
  using client = rawRequest({ port, ...request, headers: { ...headers, Connection: 'close' } })
  await client.closed()
  const head = client.head.replace(/^date: .*\r\n/gim, '')
  return { status: client.status, head, body: client.body.bytes.toString('latin1') }
}

/** The response that a client gets of a proxy in front of a working upstream, without the guard and behind it. */
async function both<Seen>({ app, guarded }: Fixture, look: (port: number) => Promise<Seen>) {
  await using origin = await startOrigin()
  const seen = async (listener: (url: string) => RequestListener) => {
    await using server = await listen(listener(origin.url))
    return await look(server.port)
  }
  return { bare: await seen(app), behind: await seen(guarded) }
}

expectHttpProxyWarning()

describe.each(Object.entries(fixtures).filter(([, { passesAll }]) => passesAll))('%s', (_name, fixture) => {
  test.for(Object.entries(requests))('%s: the same head and body', async ([, { status, ...request }]) => {
    const { bare, behind } = await both(fixture, (port) => ask(port, request))
    expect(bare.status).toBe(status)
    expect(behind).toEqual(bare)
  })
  test('an upstream that hangs up at once: the proxy’s own status and text', async () => {
    const { bare, behind } = await both(fixture, (port) =>
      ask(port, { path: `${chatPath}?want=reset`, ...wanted }),
    )
    expect(bare.status).toBeGreaterThanOrEqual(500)
    expect(behind).toEqual(bare)
  })
})

/** The headers of a stream as the guard completes those that its handler has set. */
function completed(bare: Record<string, string>): Record<string, unknown> {
  const { 'content-length': _length, ...kept } = bare
  const cacheControl = bare['cache-control'] ?? 'no-cache'
  return {
    'content-type': 'text/event-stream; charset=utf-8',
    'x-accel-buffering': 'no',
    'x-content-type-options': 'nosniff',
    'x-request-id': expect.stringMatching(/^[\w-]{36}$/),
    'transfer-encoding': 'chunked',
    ...(bare.connection !== 'close' && { 'keep-alive': 'timeout=5' }),
    ...kept,
    'cache-control': cacheControl.includes('no-transform') ? cacheControl : `${cacheControl}, no-transform`,
  }
}

describe.each(Object.entries(fixtures))('%s', (_name, fixture) => {
  test('a good stream: the same body, and the headers that docs/GUARD.md names', async () => {
    const { bare, behind } = await both(fixture, async (port) => {
      using client = await rawRequest({ port, path: chatPath, ...wanted }).finished()
      const lines = client.head.split('\r\n').slice(1)
      const { date: _date, ...headers } = Object.fromEntries(
        lines
          .map((line) => line.split(': ', 2))
          .map(([name = '', value = '']) => [name.toLowerCase(), value]),
      )
      // better-sse makes the ids up.
      return { status: client.status, headers, body: client.bodyText.replace(/^id:.*$/gm, 'id:') }
    })
    expect(bare.body).toContain('[DONE]')
    expect(behind).toEqual({ ...bare, headers: completed(bare.headers) })
    const names = [...new Set([...Object.keys(bare.headers), ...Object.keys(behind.headers)])]
    const changed = names.filter((name) => bare.headers[name] !== behind.headers[name])
    expect(changed).toContain('x-request-id')
    for (const name of changed) expect(guide).toContain(`\`${name}`)
  })
})

describe.each(Object.entries(fixtures).filter(([, { upgrades }]) => upgrades))('%s', (_name, fixture) => {
  test('an upgrade: the same bytes', async () => {
    const { bare, behind } = await both(fixture, async (port) => {
      await ask(port, { method: 'GET', path: '/GUARD.md' })
      using client = rawRequest({
        port,
        method: 'GET',
        path: '/socket',
        headers: {
          Connection: 'Upgrade',
          Upgrade: 'websocket',
          'Sec-WebSocket-Version': '13',
          'Sec-WebSocket-Key': 'x',
        },
      })
      await client.received('hello ')
      client.socket.write('data: this is no stream\n\n')
      await client.received('no stream\n\n')
      return { status: client.status, text: client.text }
    })
    expect(bare.status).toBe(101)
    expect(behind).toEqual(bare)
  })
})
