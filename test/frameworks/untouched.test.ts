import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type RawRequest, rawRequest } from '../../src/testing/index.js'
import { startUpstream } from '../support/scripted-upstream.js'
import { type RunningApp, startApp } from './app.js'
import { apps } from './apps.js'
import { take } from './courses.js'

const flags = ['--import', 'unhang/register']
const json = { 'Content-Type': 'application/json' }

/** Pages that worked before. An app that has no such page says so, and must say the same behind the guard. */
const requests: [string, Omit<RawRequest, 'port'>][] = [
  ['JSON', { method: 'GET', path: '/json' }],
  ['a page', { method: 'GET', path: '/page' }],
  ['a compressed page', { method: 'GET', path: '/page', headers: { 'Accept-Encoding': 'gzip' } }],
  ['a head alone', { method: 'HEAD', path: '/page' }],
  [
    'a body that comes back',
    { path: '/echo', headers: json, body: JSON.stringify({ a: 'x'.repeat(50_000) }) },
  ],
  ['JSON to a request that wants a stream', { path: '/echo', headers: json, body: { stream: true } }],
  ['no body', { method: 'GET', path: '/empty' }],
  ['a page that is not there', { method: 'GET', path: '/nowhere' }],
  ['a method that is not there', { method: 'DELETE', path: '/json' }],
]

/** A page that fails ends the process of a bare server, as `register.test.ts` shows. */
const failing: typeof requests = [['a page that fails', { method: 'GET', path: '/fails' }]]

describe.each(apps.filter(({ takesFlag }) => takesFlag))('$name: the same head and body', (app) => {
  let servers: RunningApp[] = []
  beforeAll(async () => {
    servers = [await startApp(app.command), await startApp(app.command, { flags })]
  })
  afterAll(async () => {
    for (const server of servers) await server[Symbol.asyncDispose]()
  })

  test.each([...requests, ...failing])('%s', async (_name, { headers, ...request }) => {
    const seen: { head: string; body: string }[] = []
    for (const { port } of servers) {
      // The end of the connection is the end of each of them, under any head.
      using client = rawRequest({ port, ...request, headers: { ...headers, Connection: 'close' } })
      await client.closed()
      const head = client.head.replace(/^(date|x-nextjs-[\w-]+): .*$/gim, '$1')
      seen.push({ head, body: client.body.bytes.toString('latin1') })
    }
    expect(seen[0]?.head).toMatch(/^HTTP\/1\.1 \d/)
    expect(seen[1]).toEqual(seen[0])
  })
})

describe('beside OpenTelemetry', () => {
  test.each([
    ['before', ['--import', './otel.js', ...flags]],
    ['after', [...flags, '--import', './otel.js']],
  ])('%s unhang', async (_order, order) => {
    await using upstream = await startUpstream(() => {})
    await using app = await startApp(
      { args: ['fastify.js'] },
      { flags: order, environment: { UPSTREAM_URL: upstream.url } },
    )
    const seen = await take(app, upstream, 'resets', '/stream/v1/chat/completions')
    expect(seen).toEqual({ outcome: 'reported', code: 'connection_reset' })
    expect(await app.prints(/span: (POST 200)/)).toBe('POST 200')
  })
})
