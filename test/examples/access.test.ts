import { IncomingMessage } from 'node:http'
import { Socket } from 'node:net'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Access } from '../../examples/server/access.js'
import { readEnvironment } from '../../examples/server/environment.js'
import { textOf } from '../support/chat.js'
import { type ExampleServer, exampleFiles, startExample } from '../support/example-server.js'
import { RawClient, rawRequest } from '../support/raw-client.js'
import { type ScriptedUpstream, startUpstream } from '../support/scripted-upstream.js'

const hello = { model: 'gpt-4o', messages: [{ role: 'user' as const, content: 'Hello' }] }
const chat = { body: { ...hello, stream: true } }
const page = { Origin: 'https://chat.example' }

/** The example in front of a Qolaba that has the answer "Hello", with a key of its operator. */
async function startWithKey(file: string, environment: Record<string, string> = {}) {
  const upstream = await startUpstream((exchange) =>
    exchange.open().data({ output: 'Hello' }, { output: null }).end(),
  )
  const key = { QOLABA_BASE_URL: upstream.url, QOLABA_API_KEY: 'sk-operator' }
  const server = await startExample(file, { ...key, ...environment })
  return {
    server,
    upstream,
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]()
      await upstream[Symbol.asyncDispose]()
    },
  }
}

function expectRefused(client: RawClient, status: number, message: string): void {
  expect(client.status).toBe(status)
  expect(client.header('content-type')).toMatch(/^application\/json/)
  expect(client.header('access-control-allow-origin')).toBeUndefined()
  expect(client.json.error).toEqual({
    message: expect.stringContaining(message),
    type: { 401: 'authentication_error', 403: 'permission_error' }[status],
    param: null,
    code: { 401: 'invalid_api_key', 403: 'forbidden' }[status],
  })
}

describe.each(exampleFiles)('%s', (file) => {
  describe('with a key of the operator and no other setting', () => {
    let upstream: ScriptedUpstream
    let server: ExampleServer
    beforeAll(async () => {
      ;({ server, upstream } = await startWithKey(file))
    }, 30_000)
    afterAll(async () => {
      await server[Symbol.asyncDispose]()
      await upstream[Symbol.asyncDispose]()
    })
    const ask = (request: Omit<Parameters<typeof rawRequest>[0], 'port'>) =>
      rawRequest({ port: server.port, ...request }).finished()
    const local = () => ({ Host: `127.0.0.1:${server.port}` })

    test('a client on this machine is served, whatever it calls it', async () => {
      for (const Host of [`127.0.0.1:${server.port}`, 'my-machine']) {
        using client = await ask({ ...chat, headers: { Host } })
        expect(textOf(client.data)).toBe('Hello')
        expect(client.header('access-control-allow-origin')).toBeUndefined()
      }
    })

    test('it says so when it starts', () => {
      expect(server.output()).toContain('Only clients on this machine are served; set PROXY_KEY')
      expect(server.output()).not.toContain('sk-operator')
    })

    test.each<Record<string, string>>([
      { 'X-Forwarded-For': '127.0.0.1' },
      { Forwarded: 'for=127.0.0.1' },
      { 'X-Real-IP': '127.0.0.1' },
    ])('a call for another client is refused, and spends nothing: %j', async (headers) => {
      const before = upstream.exchanges.length
      for (const path of ['/v1/chat/completions', '/v1/models']) {
        const request = path === '/v1/models' ? { method: 'GET' } : chat
        using client = await ask({ ...request, path, headers: { ...local(), ...headers } })
        expectRefused(client, 403, 'set PROXY_KEY')
      }
      using metrics = await ask({ method: 'GET', path: '/metrics', headers: { ...local(), ...headers } })
      expectRefused(metrics, 403, 'Only clients on this machine')
      expect(upstream.exchanges).toHaveLength(before)
    })

    test.each(['https://evil.example', 'http://127.0.0.1:5173', 'http://localhost', 'null', 'nonsense', ''])(
      'a page of another origin cannot even send its request: %j',
      async (Origin) => {
        const before = upstream.exchanges.length
        // Requests that a form or a no-cors fetch can send, without asking first.
        const simple = { ...local(), Origin, 'Content-Type': 'text/plain' }
        using client = await ask({ ...chat, headers: simple })
        expectRefused(client, 403, 'ALLOW_ORIGIN')
        using preflight = await ask({ method: 'OPTIONS', headers: { ...local(), Origin } })
        expectRefused(preflight, 403, 'ALLOW_ORIGIN')
        using metrics = await ask({ method: 'GET', path: '/metrics', headers: { ...local(), Origin } })
        expectRefused(metrics, 403, 'ALLOW_ORIGIN')
        expect(upstream.exchanges).toHaveLength(before)
      },
    )

    test.each(['evil.example', '127.0.0.1.evil.example', 'xlocalhost', '127.0.0.1@evil.example'])(
      'a page that has its own name resolved to this machine (DNS rebinding) is refused all the same: %s',
      async (Host) => {
        using client = await ask({ ...chat, headers: { Host, Origin: `http://${Host}` } })
        using metrics = await ask({ method: 'GET', path: '/metrics', headers: { Host } })
        // Hono's own server refuses a name that cannot be a host.
        if (file === 'hono-server.ts' && Host.includes('@'))
          return expect([client.status, metrics.status]).toEqual([400, 400])
        expectRefused(client, 403, 'ALLOW_ORIGIN')
        expectRefused(metrics, 403, 'Only clients on this machine')
      },
    )

    test.each(['127.0.0.1', 'localhost', 'LOCALHOST', '[::1]', '127.0.0.1:3000'])(
      'a page of its own may ask: %s',
      async (Host) => {
        using client = await ask({ ...chat, headers: { Host, Origin: `http://${Host.toLowerCase()}` } })
        expect(textOf(client.data)).toBe('Hello')
        using metrics = await ask({ method: 'GET', path: '/metrics', headers: { Host } })
        expect(metrics.bodyText).toContain('unhang_streams_active')
      },
    )

    test('GET /health is for the load balancer', async () => {
      const headers = { Host: 'proxy.example', 'X-Forwarded-For': '10.0.0.1' }
      using health = await ask({ method: 'GET', path: '/health', headers })
      expect(health.status).toBe(200)
    })
  })

  test('with PROXY_KEY: only clients that send it are served', async () => {
    await using proxy = await startWithKey(file, { PROXY_KEY: 'pk-0123456789' })
    const { port, output } = proxy.server
    expect(output()).not.toContain('Only clients on this machine')
    const remote = { Host: 'proxy.example', 'X-Forwarded-For': '203.0.113.7' }
    for (const Authorization of [
      '',
      'Bearer',
      'Bearer pk-012345678',
      'Bearer pk-01234567890',
      'Basic pk-0123456789',
    ]) {
      for (const headers of [{ Authorization }, { ...remote, Authorization }]) {
        using client = await rawRequest({ port, ...chat, headers }).finished()
        expectRefused(client, 401, 'PROXY_KEY')
        using models = await rawRequest({ port, method: 'GET', path: '/v1/models', headers }).finished()
        expectRefused(models, 401, 'PROXY_KEY')
      }
    }
    expect(proxy.upstream.exchanges).toHaveLength(0)
    const headers = { ...remote, Authorization: 'Bearer pk-0123456789' }
    using client = await rawRequest({ port, ...chat, headers }).finished()
    expect(textOf(client.data)).toBe('Hello')
    expect(proxy.upstream.exchanges[0]?.head).toMatch(/^authorization: Bearer sk-operator$/im)
    expect(proxy.upstream.exchanges[0]?.head).not.toContain('pk-')
    // No key opens these: any client that has it may chat.
    using metrics = await rawRequest({ port, method: 'GET', path: '/metrics', headers }).finished()
    expectRefused(metrics, 403, 'Only clients on this machine')
    using foreign = await rawRequest({ port, ...chat, headers: { ...headers, ...page } }).finished()
    expectRefused(foreign, 403, 'ALLOW_ORIGIN')
    const own = { ...headers, Origin: 'https://proxy.example' }
    using ofItsOwn = await rawRequest({ port, ...chat, headers: own }).finished()
    expect(textOf(ofItsOwn.data)).toBe('Hello')
  })

  test('with ALLOW_ORIGIN: pages of these origins may call, and read also what is refused', async () => {
    const settings = { ALLOW_ORIGIN: 'https://chat.example, app://notes', PROXY_KEY: 'pk' }
    await using proxy = await startWithKey(file, settings)
    const { port } = proxy.server
    for (const Origin of ['https://chat.example', 'app://notes']) {
      const headers = { Origin, Authorization: 'Bearer pk' }
      using client = await rawRequest({ port, ...chat, headers }).finished()
      expect(textOf(client.data)).toBe('Hello')
      expect(client.header('access-control-allow-origin')).toBe(Origin)
      expect(client.header('vary')).toMatch(/\borigin\b/i)
      using refused = await rawRequest({ port, ...chat, headers: { Origin } }).finished()
      expect(refused.status).toBe(401)
      expect(refused.header('access-control-allow-origin')).toBe(Origin)
      const asked = {
        Origin,
        'Access-Control-Request-Method': 'POST',
        'Access-Control-Request-Headers': 'authorization',
      }
      using preflight = await rawRequest({ port, method: 'OPTIONS', headers: asked }).finished()
      expect(preflight.status).toBe(204)
      expect(preflight.header('access-control-allow-origin')).toBe(Origin)
      expect(preflight.header('access-control-allow-headers')).toBe('authorization')
    }
    for (const Origin of ['https://chat.example.evil', 'http://chat.example', 'https://other.example']) {
      const headers = { Origin, Authorization: 'Bearer pk' }
      using client = await rawRequest({ port, ...chat, headers }).finished()
      expectRefused(client, 403, 'ALLOW_ORIGIN')
    }
  })

  test('on the stand-in both settings can be tried', async () => {
    await using server = await startExample(file, { PROXY_KEY: 'pk', ALLOW_ORIGIN: page.Origin })
    using refused = await rawRequest({ port: server.port, ...chat, headers: page }).finished()
    expect(refused.status).toBe(401)
    const headers = { ...page, Authorization: 'Bearer pk' }
    using client = await rawRequest({ port: server.port, ...chat, headers }).received('data: ')
    expect(client.header('access-control-allow-origin')).toBe(page.Origin)
  })

  describe.each(['studio', 'openai'])('hostile bodies, QOLABA_API=%s', (api) => {
    let server: ExampleServer
    beforeAll(async () => {
      server = await startExample(file, { QOLABA_API: api })
    }, 30_000)
    afterAll(() => server[Symbol.asyncDispose]())
    const send = (body: string, headers: Record<string, string> = {}) =>
      rawRequest({ port: server.port, body, headers }).finished()

    const arrays = '['.repeat(100_000) + ']'.repeat(100_000)
    const objects = `${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}`
    test.each<[string, string]>([
      ['a body', arrays],
      ['a body of objects', objects],
      ['a model', `{"model":${arrays},"messages":[]}`],
      ['messages', `{"model":"gpt-4o","messages":${arrays}}`],
      ['a content', `{"model":"gpt-4o","messages":[{"role":"user","content":${arrays}}]}`],
      ['a role', `{"model":"gpt-4o","messages":[{"role":${objects},"content":""}]}`],
      ['stream', `{"model":"gpt-4o","messages":[],"stream":${arrays}}`],
      [
        'what it does not know',
        `{"model":"gpt-4o","messages":[{"role":"user","content":"x"}],"x":${objects}}`,
      ],
    ])('100,000 levels in %s are a 400', async (_where, body) => {
      using client = await send(body)
      expect(client.status).toBe(400)
      expect(client.json.error).toMatchObject({
        type: 'invalid_request_error',
        param: null,
        message: expect.stringMatching(/nested too deeply|must be a JSON object/),
      })
      expect(server.output()).not.toMatch(/RangeError|failed/)
    })

    test('a value that is nested as tools are is none', async () => {
      const schema = `${'{"items":'.repeat(200)}{}${'}'.repeat(200)}`
      const tools = `[{"type":"function","function":{"name":"f","parameters":${schema}}}]`
      using client = await send(
        `{"model":"gpt-4o","messages":[{"role":"user","content":"x"}],"tool_choice":"none","tools":${tools}}`,
      )
      expect(client.status).toBe(200)
    })

    test('over the limit is a 413, also when it is small until it is unpacked', async () => {
      const body = JSON.stringify({ ...hello, padding: 'x'.repeat(20 * 1024 * 1024) })
      const packed = gzipSync(body)
      const head = `Content-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: ${packed.length}`
      using long = await send(body)
      using short = new RawClient(server.port)
      short.socket.write(`POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n${head}\r\n\r\n`)
      short.socket.write(packed)
      for (const client of [long, await short.finished()]) {
        expect(client.status).toBe(413)
        expect(client.body.complete).toBe(true)
        expect(client.json.error).toMatchObject({ type: 'invalid_request_error', code: 'invalid_request' })
      }
    })
  })

  test('a key in the URL is not printed', async () => {
    const environment = { QOLABA_BASE_URL: 'http://me:secret@127.0.0.1:9/api?key=secret' }
    await using server = await startExample(file, environment)
    expect(server.output()).toContain('upstream: http://127.0.0.1:9/api')
    expect(server.output()).not.toContain('secret')
  })
})

describe('a machine of its own is known by the socket', () => {
  /** A request as Node makes it, of a client at an address. */
  function requestFrom(remoteAddress: string | undefined): IncomingMessage {
    const socket = Object.defineProperty(new Socket(), 'remoteAddress', { value: remoteAddress })
    const request = new IncomingMessage(socket)
    request.headers = { host: 'localhost:3000' }
    return request
  }
  const access = new Access({ apiKey: 'sk', proxyKey: undefined, allowOrigin: undefined })

  test.each(['127.0.0.1', '127.8.9.1', '::1', '::ffff:127.0.0.1'])('%s', (address) => {
    expect(() => access.checkClient(requestFrom(address))).not.toThrow()
    expect(() => access.checkLocal(requestFrom(address))).not.toThrow()
  })

  test.each(['10.0.0.7', '172.17.0.1', '::ffff:10.0.0.7', 'fe80::1', '::', '2001:db8::127.0.0.1', undefined])(
    'not %s',
    (address) => {
      const refused = expect.objectContaining({ status: 403, expose: true })
      expect(() => access.checkClient(requestFrom(address))).toThrow(refused)
      expect(() => access.checkLocal(requestFrom(address))).toThrow(refused)
    },
  )
})

test('without settings: port 3000 of this machine alone, and no key', () => {
  expect(readEnvironment({})).toMatchObject({
    port: 3000,
    host: '127.0.0.1',
    apiKey: undefined,
    proxyKey: undefined,
    baseUrl: undefined,
  })
})

test.each<[Record<string, string>, string]>([
  [{ ALLOW_ORIGIN: '*' }, 'ALLOW_ORIGIN must hold origins such as https://chat.example'],
  [{ ALLOW_ORIGIN: '*' }, 'got "*"'],
  [{ ALLOW_ORIGIN: 'https://chat.example/' }, 'got "https://chat.example/"'],
  [{ ALLOW_ORIGIN: 'https://Chat.example' }, 'got "https://Chat.example"'],
  [{ ALLOW_ORIGIN: 'chat.example' }, 'got "chat.example"'],
  [{ ALLOW_ORIGIN: 'https://a.example,' }, 'got ""'],
  [{ PROXY_KEY: 'a b' }, 'PROXY_KEY has a character that an HTTP header must not have'],
  [{ PROXY_KEY: 'a', QOLABA_BASE_URL: 'http://127.0.0.1:9' }, 'PROXY_KEY needs a QOLABA_API_KEY'],
  [{ RESUME: 'disk' }, 'RESUME must be memory or a redis URL, got "disk"'],
  [{ RESUME: 'http://me:secret@x' }, 'RESUME must be memory or a redis URL, got "http://x"'],
  [{ QOLABA_BASE_URL: 'ftp://me:secret@x/?key=secret' }, 'got "ftp://x/"'],
])('refused at the start: %j', (environment, message) => {
  expect(() => readEnvironment(environment)).toThrow(message)
})
