import { describe, expect, test } from 'vitest'
import { readCommandLine } from '../../src/command/command.js'
import { checkSettings, type ProxySettings } from '../../src/command/proxy/settings.js'
import { proxy as command } from '../../src/command/proxy.js'
import { rawRequest, startUpstream } from '../../src/testing/index.js'
import { startProxied } from '../support/proxied.js'

const startModels = () => startUpstream((exchange) => exchange.answer('200 OK', '{}'))
const headers = [['Authorization', 'Bearer operator']] as const

/** The result of such a proxy for a request with these headers, and the headers that its upstream gets. */
async function asked(more: Partial<ProxySettings>, sent: Record<string, string>, path = '/v1/models') {
  await using upstream = await startModels()
  await using proxy = await startProxied(upstream.url, more)
  const headers = { Host: 'localhost:3000', ...sent }
  using client = await rawRequest({ port: proxy.port, method: 'GET', path, headers }).finished()
  return { client, status: client.status, head: upstream.exchanges[0]?.head }
}

test('--header replaces what clients send, in any case', async () => {
  const { head } = await asked({ headers }, { AUTHORIZATION: 'Bearer client' })
  expect(head?.match(/^authorization: .*$/gim)).toEqual(['Authorization: Bearer operator'])
})

describe('--key', () => {
  const locked = { key: 'the key' }

  test.each<[string, Record<string, string>, string?]>([
    ['Authorization', { Authorization: 'Bearer the key' }],
    ['x-api-key, as Anthropic’s clients send it', { 'x-api-key': 'the key' }],
    ['api-key, as Azure’s', { 'api-key': 'the key' }],
    ['x-goog-api-key, as Gemini’s', { 'x-goog-api-key': 'the key' }],
    ['key in the query, as some of Gemini’s', {}, '/v1/models?a=1&key=the%20key&b=2'],
  ])('is taken as %s, and kept from the upstream', async (_how, sent, path) => {
    const { status, head } = await asked(locked, sent, path)
    expect(status).toBe(200)
    expect(head).not.toMatch(/the( |%20)key/)
    if (path) expect(head).toMatch(/^GET \/v1\/models\?a=1&b=2 /)
  })

  test.each<[string, Record<string, string>, string?]>([
    ['none', {}],
    ['another', { Authorization: 'Bearer the kex' }],
    ['a part of it', { Authorization: 'Bearer the' }],
    ['another one in the query', {}, '/?key=the'],
  ])('%s is refused', async (_how, sent, path) => {
    const { client, head } = await asked(locked, sent, path)
    expect(client.status).toBe(401)
    expect(client.json.error.code).toBe('invalid_api_key')
    expect(head).toBeUndefined()
  })

  test('is asked for by an upgrade, too', async () => {
    const sent = { Connection: 'Upgrade', Upgrade: 'websocket' }
    expect((await asked(locked, sent)).status).toBe(401)
  })

  test('leaves the clients’ own credentials to the upstream', async () => {
    const { head } = await asked(locked, { 'x-api-key': 'the key', Authorization: 'Bearer mine' })
    expect(head).toContain('Authorization: Bearer mine')
  })
})

describe('a page of another site', () => {
  const evil = { Origin: 'https://evil.example' }

  test('does not get to spend the key of the operator', async () => {
    expect((await asked({ headers }, evil)).status).toBe(403)
    expect((await asked({ headers }, { Origin: 'null' })).status).toBe(403)
    expect((await asked({ headers }, { 'Sec-Fetch-Site': 'cross-site' })).status).toBe(403)
    expect((await asked({ headers }, { Host: 'evil.example:3000' })).status).toBe(403)
  })

  test.each<[string, Partial<ProxySettings>, Record<string, string>]>([
    ['one of this machine does', { headers }, { Origin: 'http://localhost:8000' }],
    ['an app does', { headers }, { Origin: 'tauri://localhost' }],
    ['what is no page does', { headers }, {}],
    ['whatever this machine is called', { headers }, { Host: '[::1]:3000' }],
    ['one that --cors names does', { headers, cors: ['https://evil.example'] }, evil],
    ['one with the key does', { headers, key: 'k' }, { ...evil, Authorization: 'Bearer k' }],
    ['without a key to spend, the upstream decides', {}, { ...evil, Host: 'evil.example' }],
  ])('%s', async (_what, more, sent) => {
    expect((await asked(more, sent)).status).toBe(200)
  })
})

describe('--cors', () => {
  const page = { Origin: 'https://chat.example' }

  test('lets the pages of an origin read, and no other', async () => {
    const cors = ['https://chat.example']
    const { client } = await asked({ cors }, page)
    expect(client.header('access-control-allow-origin')).toBe('https://chat.example')
    expect(client.header('vary')).toBe('Origin')
    const other = await asked({ cors }, { Origin: 'https://other.example' })
    expect(other.client.header('access-control-allow-origin')).toBeUndefined()
    expect((await asked({ cors: ['*'] }, page)).client.header('access-control-allow-origin')).toBe('*')
    expect((await asked({}, page)).client.header('access-control-allow-origin')).toBeUndefined()
  })

  test('stands once, whatever the upstream says, also on its stream', async () => {
    const theirs = 'Access-Control-Allow-Origin: https://theirs.example'
    await using upstream = await startUpstream((exchange) =>
      exchange.open(`Content-Type: text/event-stream\r\n${theirs}`).chunk('data: 1\n\n').end(),
    )
    await using proxy = await startProxied(upstream.url, { cors: ['*'] })
    using client = await rawRequest({ port: proxy.port, method: 'GET', headers: page }).finished()
    expect(client.head.match(/^access-control-allow-origin: .*$/gim)).toEqual([
      'Access-Control-Allow-Origin: *',
    ])
  })

  test('answers a preflight without a key, and without the upstream', async () => {
    await using upstream = await startModels()
    await using proxy = await startProxied(upstream.url, { cors: ['*'], key: 'k' })
    const preflight = {
      ...page,
      'Access-Control-Request-Method': 'POST',
      'Access-Control-Request-Headers': 'authorization,content-type',
      'Access-Control-Request-Private-Network': 'true',
    }
    using client = await rawRequest({ port: proxy.port, method: 'OPTIONS', headers: preflight }).finished()
    expect(client.status).toBe(204)
    expect(client.header('access-control-allow-methods')).toBe('POST')
    expect(client.header('access-control-allow-headers')).toBe('authorization,content-type')
    expect(client.header('access-control-allow-private-network')).toBe('true')
    expect(upstream.exchanges).toEqual([])
  })
})

describe('the command line', () => {
  const read = (args: string[], environment = {}) =>
    readCommandLine(command, ['http://a', ...args], environment).values

  test('has defaults', () => {
    expect(read([])).toEqual({
      port: 3000,
      host: undefined,
      header: [],
      key: undefined,
      cors: [],
      timeouts: undefined,
      heartbeatMs: undefined,
      headersAfterMs: undefined,
      verbose: false,
      metrics: undefined,
    })
  })

  test('reads each flag, and the environment', () => {
    const args = ['--port', '1', '--host', '::1', '--header', 'A: b: c', '--header', ' X-Y :z ', '--key', 'k']
    const more = ['--cors', '*', '--cors', 'https://a.example', '--timeouts', 'advanced', '--verbose']
    expect(
      read([...args, ...more, '--metrics', '0', '--heartbeat-ms', 'false', '--headers-after-ms', '5']),
    ).toEqual({
      port: 1,
      host: '::1',
      header: [
        ['A', 'b: c'],
        ['X-Y', 'z'],
      ],
      key: 'k',
      cors: ['*', 'https://a.example'],
      timeouts: 'advanced',
      heartbeatMs: Number.POSITIVE_INFINITY,
      headersAfterMs: 5,
      verbose: true,
      metrics: 0,
    })
    const environment = {
      UNHANG_HEADER: 'A: 1\nB: 2',
      UNHANG_TIMEOUTS: '{"totalMs":false}',
      UNHANG_VERBOSE: '1',
    }
    expect(read([], environment)).toMatchObject({
      header: [
        ['A', '1'],
        ['B', '2'],
      ],
      timeouts: { totalMs: false },
      verbose: true,
    })
    expect(read(['--timeouts', 'false']).timeouts).toBe(false)
  })

  test.each<[string[], string]>([
    [['--header', 'nonsense'], '--header must name a header; write "Name: value"'],
    [['--header', 'A:'], '--header must have a value for "A"; write "Name: value"'],
    [
      ['--header', 'A b: c'],
      '--header must be an HTTP header, got one named "A b" that cannot be sent; write "Name: value"',
    ],
    [['--header', 'Content-Length: 1'], '--header cannot set Content-Length: the proxy writes it itself'],
    [
      ['--cors', 'chat.example'],
      '--cors must be an origin such as https://chat.example, or *; got "chat.example"',
    ],
    [
      ['--cors', 'https://a.example/'],
      '--cors must be an origin such as https://chat.example, or *; got "https://a.example/"',
    ],
    [
      ['--timeouts', 'advancd'],
      "--timeouts must be an object, false or a profile ('standard', 'streaming', 'advanced'), got \"advancd\"; did you mean 'advanced'?",
    ],
    [
      ['--timeouts', '{total'],
      '--timeouts must be a profile or JSON, such as {"totalMs":600000}; got "{total"',
    ],
    [
      ['--timeouts', '{"totalMs":0}'],
      '--timeouts totalMs must be a number of milliseconds above 0, or false or Infinity for never; got 0',
    ],
    [['--timeouts', '{"total":1}'], '--timeouts total is not an option; did you mean totalMs?'],
  ])('refuses %j in one line', (args, message) => {
    expect(() => read(args)).toThrow(new TypeError(message))
  })

  const run = (args: string[]) => {
    const { values, argument } = readCommandLine(command, args, {})
    return command.run(values, argument)
  }

  test.each<[string[], string]>([
    [['ftp://a'], 'URL must be one of http or https, write it as http://127.0.0.1:8080; got ftp://a'],
    [
      ['127.0.0.1:8080'],
      'URL must be one of http or https, write it as http://127.0.0.1:8080; got 127.0.0.1:8080',
    ],
    [['http://me:secret@a'], 'URL must hold no password: write --header "Authorization: …" instead'],
    [
      ['http://a/?x=1'],
      'URL must have no query and no #, write it as http://127.0.0.1:8080; got http://a/?x=1',
    ],
    [
      ['http://a', '--host', '0.0.0.0', '--header', 'x-api-key: k'],
      '--header x-api-key would serve every client that reaches 0.0.0.0: add --key, which clients must send, or leave --host out.',
    ],
    [['http://localhost:3000'], '--port 3000 is the port of the URL itself: the proxy would call itself.'],
    [
      ['http://a', '--timeouts', '{"firstByteMs":5}', '--headers-after-ms', '5'],
      '--headers-after-ms (5) must be shorter than --timeouts firstByteMs (5)',
    ],
  ])('%j is refused in one line', async (args, message) => {
    await expect(run(args)).rejects.toThrow(new TypeError(message))
  })

  const settings = {
    headers: [],
    key: undefined,
    cors: [],
    timeouts: undefined,
    heartbeatMs: undefined,
    headersAfterMs: undefined,
  }
  test.each([
    ['0.0.0.0', 'http://127.0.0.1:3000'],
    ['::', 'http://localhost:3000'],
    ['', 'http://localhost:3000'],
    ['0', 'http://[::1]:3000'],
    ['127.0.0.1', 'http://0.0.0.0:3000'],
    ['127.0.0.1', 'http://[::]:3000'],
    ['192.168.1.2', 'http://192.168.1.2:3000'],
    ['fe80::0:1', 'http://[fe80::1]:3000'],
    ['My.Machine', 'http://my.machine:3000/v1'],
  ])('listening on %s, it is not the upstream %s', (host, url) => {
    const itself = { ...settings, host, port: 3000, upstream: new URL(url) }
    expect(() => checkSettings(itself)).toThrow(
      new TypeError('--port 3000 is the port of the URL itself: the proxy would call itself.'),
    )
    expect(() => checkSettings({ ...itself, port: 3001 })).not.toThrow()
  })

  test.each([
    ['0.0.0.0', 'http://192.0.2.1:3000'],
    ['192.168.1.2', 'http://127.0.0.1:3000'],
  ])('listening on %s, it may have the upstream %s', (host, url) => {
    checkSettings({ ...settings, host, port: 3000, upstream: new URL(url) })
  })

  test('a port that is taken is said to be', async () => {
    await using taken = await startModels()
    await expect(run(['http://a', '--port', String(taken.port)])).rejects.toThrow(
      new TypeError(`--port ${taken.port} is in use: choose another one`),
    )
  })

  test.each([
    ['192.0.2.1', /^listen EADDRNOTAVAIL/],
    ['no.such.machine.invalid', /^getaddrinfo E/],
  ])('a host that cannot be listened on is said to be: %s', async (host, why) => {
    const error = await run(['http://a', '--port', '0', '--host', host]).catch((error) => error)
    const [, reason] =
      /^--host \S+ is not an address of this machine: write 127\.0\.0\.1, or 0\.0\.0\.0 for all of them \((.*)\)$/.exec(
        error.message,
      ) ?? []
    expect(error).toBeInstanceOf(TypeError)
    expect(reason).toMatch(why)
  })
})
