import { subscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { readdir, readFile } from 'node:fs/promises'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, test } from 'vitest'
import {
  channels,
  coordinatedSocketCleanup,
  drainStreams,
  type FailedOutcome,
  getSignal,
  handleStream,
  StreamError,
  type StreamErrorCode,
  StreamTimeoutError,
  type TimeoutPhase,
  UpstreamError,
  wrapApp,
} from '../../src/index.js'
import { withResolvers } from '../support/with-resolvers.js'

// Names that programs outside of this version rely on: dashboards, alerts, other copies of unhang in the process.
// A name may join. One that changes or goes is a breaking change.

test('the channels', () => {
  const names = Object.entries(channels).map(([name, channel]) => `${name}: ${String(channel.name)}`)
  expect(names).toMatchInlineSnapshot(`
    [
      "start: unhang:stream:start",
      "head: unhang:stream:head",
      "timeout: unhang:stream:timeout",
      "cleanup: unhang:stream:cleanup",
      "reported: unhang:stream:reported",
      "end: unhang:stream:end",
    ]
  `)
})

test('the namespaces of DEBUG', async () => {
  const found: string[] = []
  for (const file of await readdir('src', { recursive: true })) {
    if (!file.endsWith('.ts')) continue
    const code = await readFile(`src/${file}`, 'utf8')
    found.push(...[...code.matchAll(/debugLog\('([^']+)'\)/g)].map(([, name]) => String(name)))
  }
  expect(found.sort()).toMatchInlineSnapshot(`
    [
      "unhang:cleanup",
      "unhang:drain",
      "unhang:hangup",
      "unhang:stream",
      "unhang:timeout",
    ]
  `)
})

test('the codes, and the status and the name of each error', () => {
  const outcomes: Record<FailedOutcome, string> = {
    timeout: '',
    upstream_connect: '',
    upstream_error: '',
    upstream_hangup: '',
    upstream_protocol: '',
    upstream_truncated: '',
    client_gone: '',
    client_stalled: '',
    shutdown: '',
    aborted: '',
    internal: '',
  }
  const phases: Record<TimeoutPhase, string> = {
    connect: '',
    firstByte: '',
    firstEvent: '',
    inactivity: '',
    upstreamStall: '',
    clientStall: '',
    total: '',
  }
  const told = ({ code, status, name }: StreamError) => `${status} ${code} (${name})`
  for (const outcome of Object.keys(outcomes) as FailedOutcome[]) {
    outcomes[outcome] = told(new StreamError(outcome))
  }
  for (const phase of Object.keys(phases) as TimeoutPhase[])
    phases[phase] = told(new StreamTimeoutError(phase))
  outcomes.upstream_error = told(new UpstreamError())
  expect(outcomes).toMatchInlineSnapshot(`
    {
      "aborted": "499 request_aborted (AbortError)",
      "client_gone": "499 client_disconnected (AbortError)",
      "client_stalled": "499 client_stalled (AbortError)",
      "internal": "500 internal_error (StreamError)",
      "shutdown": "503 server_shutting_down (AbortError)",
      "timeout": "504 request_timeout_total (TimeoutError)",
      "upstream_connect": "503 upstream_unreachable (StreamError)",
      "upstream_error": "502 upstream_error (UpstreamError)",
      "upstream_hangup": "503 connection_reset (StreamError)",
      "upstream_protocol": "502 upstream_protocol_error (StreamError)",
      "upstream_truncated": "502 upstream_truncated (StreamError)",
    }
  `)
  expect(phases).toMatchInlineSnapshot(`
    {
      "clientStall": "499 client_stalled (AbortError)",
      "connect": "504 upstream_connect_timeout (TimeoutError)",
      "firstByte": "504 upstream_first_byte_timeout (TimeoutError)",
      "firstEvent": "504 upstream_first_event_timeout (TimeoutError)",
      "inactivity": "504 upstream_inactivity_timeout (TimeoutError)",
      "total": "504 request_timeout_total (TimeoutError)",
      "upstreamStall": "504 upstream_stalled (TimeoutError)",
    }
  `)
  expect(told(new UpstreamError({ status: 429 }))).toMatchInlineSnapshot(
    `"429 rate_limit_exceeded (UpstreamError)"`,
  )
  // The rest is given at its place; the compiler knows whether one is missing here.
  const rest: Record<Exclude<StreamErrorCode, StreamErrorCodeOfTables>, string> = {
    no_answer: 'a handler that ends without a word',
    invalid_request: 'an example that translates',
    upstream_event_too_large: 'an event over maxEventBytes',
    upstream_answer_too_large: 'JSON over maxEventBytes',
  }
  expect(Object.keys(rest)).toHaveLength(4)
})

type StreamErrorCodeOfTables =
  | 'upstream_unreachable'
  | 'upstream_error'
  | 'rate_limit_exceeded'
  | 'connection_reset'
  | 'upstream_protocol_error'
  | 'upstream_truncated'
  | 'client_disconnected'
  | 'client_stalled'
  | 'server_shutting_down'
  | 'request_aborted'
  | 'internal_error'
  | 'upstream_connect_timeout'
  | 'upstream_first_byte_timeout'
  | 'upstream_first_event_timeout'
  | 'upstream_inactivity_timeout'
  | 'upstream_stalled'
  | 'request_timeout_total'

test("the objects that copies of unhang share under Symbol.for('unhang.…')", async () => {
  const shared = globalThis as unknown as Record<symbol, object>
  const responses: ServerResponse[] = []
  const over = withResolvers()
  const guarded = wrapApp((request, response) => {
    responses.push(response)
    getSignal(request)
    response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: x\n\n')
  })
  const server = createServer((request, response) => {
    if (request.url === '/guarded') return guarded(request, response)
    responses.push(response)
    void handleStream(response, async ({ writer }) => {
      await writer.write('x')
      await over.promise
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const answers = [await fetch(`${url}/guarded`, { method: 'POST' }), await fetch(`${url}/route`)]
  const of = <Value>(name: string) => shared[Symbol.for(`unhang.${name}`)] as Value
  const registries: Record<string, string> = {}
  await coordinatedSocketCleanup(new AbortController())
  const drained = drainStreams(server, { graceMs: 1 })
  for (const symbol of Object.getOwnPropertySymbols(globalThis)) {
    const name = Symbol.keyFor(symbol)
    if (!name?.startsWith('unhang.')) continue
    registries[name] = kindOf(Object(shared[symbol]))
  }
  expect(registries).toMatchInlineSnapshot(`
    {
      "unhang.adopt.v1": "CallOwners",
      "unhang.cleanups": "WeakMap",
      "unhang.drains": "WeakMap",
      "unhang.guards": "WeakMap",
      "unhang.liveStreams": "{ streams, draining, sessions }",
      "unhang.openResponses": "Set",
      "unhang.writers": "WeakMap",
    }
  `)
  const { streams, draining, sessions } = of<Record<string, object>>('liveStreams')
  expect([
    membersOf(Object(streams)),
    kindOf(Object(draining)),
    kindOf(Object(sessions)),
  ]).toMatchInlineSnapshot(`
    [
      "size, add, delete, Symbol(Symbol.iterator)",
      "WeakSet",
      "WeakMap",
    ]
  `)
  expect(membersOf(of('adopt.v1'))).toMatchInlineSnapshot(
    `"current, enter, leave, mayHaveReaders, cancelLater, stopWaiting, readersChanged"`,
  )
  const [first] = streams as Iterable<object>
  expect(pick(first, ['server', 'stop', 'ended'])).toMatchInlineSnapshot(`
    {
      "ended": "promise",
      "server": "object",
      "stop": "function",
    }
  `)
  const [behindGuard, ofRoute] = responses as [ServerResponse, ServerResponse]
  const guard = of<WeakMap<object, object>>('guards').get(behindGuard)
  expect(of<WeakMap<object, object>>('guards').get(behindGuard.req)).toBe(guard)
  const protocol = [
    'requestId',
    'signal',
    'refused',
    'options',
    'refine',
    'readBodyFrom',
    'stepAside',
    'enter',
    'respond',
    'respondAtLast',
  ]
  expect(pick(guard, protocol)).toMatchInlineSnapshot(`
    {
      "enter": "function",
      "options": "object",
      "readBodyFrom": "function",
      "refine": "function",
      "refused": "boolean",
      "requestId": "string",
      "respond": "function",
      "respondAtLast": "function",
      "signal": "object",
      "stepAside": "function",
    }
  `)
  const writer = of<WeakMap<object, object>>('writers').get(ofRoute)
  expect(pick(writer, ['headersSent', 'events', 'close'])).toMatchInlineSnapshot(`
    {
      "close": "function",
      "events": "number",
      "headersSent": "boolean",
    }
  `)
  expect(of<WeakMap<object, unknown>>('drains').get(server)).toBe(drained)
  expect(Symbol.for('unhang.StreamError') in new StreamError('internal')).toBe(true)
  over.resolve()
  for (const answer of answers) await answer.text()
  await drained
})

test('each channel says what it says it does', async () => {
  const seen: Record<string, string> = {}
  for (const [name, channel] of Object.entries(channels)) {
    subscribe(channel.name, (message) => {
      seen[name] ??= Object.keys(message as object).join(', ')
    })
  }
  let url = ''
  const server = createServer((request, response) => {
    if (request.url === '/upstream') {
      response.writeHead(200, { 'content-type': 'text/event-stream' }).end('data: x\n\n')
      return
    }
    const upstream = request.url === '/' ? fetch(`${url}/upstream`) : new Promise<Response>(() => {})
    void handleStream(response, ({ relay }) => relay(upstream), { timeouts: { firstByteMs: 1_000 } })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  expect(await (await fetch(url)).text()).toContain('data: x')
  expect((await fetch(`${url}/silent`)).status).toBe(504)
  server.closeAllConnections()
  server.close()
  expect(seen).toMatchInlineSnapshot(`
    {
      "cleanup": "requestId, report",
      "end": "outcome, reason, phase, requestId, model, status, ttfbMs, durationMs, maxGapMs, events, bytes, heartbeats, sawTerminal, retries, upstreamsLeftRunning, usage, streamId, recorded, detached, suppressed",
      "head": "requestId",
      "reported": "requestId, outcome, code, headersSent",
      "start": "requestId, model",
      "timeout": "requestId, phase, timeoutMs",
    }
  `)
})

function kindOf(value: object): string {
  const { name } = value.constructor
  return name === 'Object' ? `{ ${Object.keys(value).join(', ')} }` : name
}

function membersOf(value: object): string {
  const names = Reflect.ownKeys(Object.getPrototypeOf(value)).filter((name) => name !== 'constructor')
  return names.map(String).join(', ')
}

function pick(value: unknown, names: string[]): Record<string, string> {
  const members = Object(value) as Record<string, unknown>
  return Object.fromEntries(
    names.map((name) => [name, members[name] instanceof Promise ? 'promise' : typeof members[name]]),
  )
}
