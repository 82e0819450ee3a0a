import { beforeAll, describe, expect, test } from 'vitest'
import type { StreamEnd } from '../../../src/index.js'
import { chatAnswer, chatChunk } from '../chat.js'
import type { Script } from '../scripted-upstream.js'
import { bugTrigger, type ChatRequest, type Mount, type MountSettings } from './mount.js'
import { observeStreams } from './observe.js'
import { type NamedClient, type Scene, startScene } from './scene.js'
import { expectCounts, type Seen } from './seen.js'

/** A stream and everything that was said of it. */
interface Account {
  requestId: string
  end: StreamEnd
  /** Nothing, of a client that left. */
  seen: Seen | undefined
  messages: [name: string, message: Record<string, unknown>][]
  lines: string[]
}

interface Case {
  upstream: Script
  /** The client's ways, if it does not simply read. */
  client?: (client: NamedClient, scene: Scene) => Promise<Seen | undefined>
  settings?: Omit<MountSettings, 'onEnd'>
  request?: ChatRequest
  channels: string[]
  /** Without the id before them, and without those of cleanups. */
  lines: RegExp[]
}

const started = /^start, model undefined$/
const counts = (outcome: string, events = '\\d+') =>
  new RegExp(`^${outcome}, ${events} events, \\d+ bytes, \\d+ ms$`)

const cases: Record<string, Case> = {
  'a complete stream': {
    upstream: (exchange) =>
      exchange
        .open()
        .data(...chatAnswer('Hel', 'lö'))
        .end(),
    channels: ['start', 'head', 'end'],
    lines: [started, counts('completed', '4')],
  },
  'an upstream that resets mid-stream': {
    upstream: (exchange) => exchange.open().data(chatChunk('Hello')),
    client: async (client, scene) => {
      await client.received('Hello')
      await (await scene.exchange(0)).reset()
      return await client.finished()
    },
    channels: ['start', 'head', 'reported', 'end'],
    lines: [started, /^upstream_hangup, connection_reset: ./, counts('upstream_hangup', '2')],
  },
  'one that hangs up in the middle of an event': {
    upstream: (exchange) => exchange.open().data(chatChunk('Hello')).chunk('data: {"half').fin(),
    channels: ['start', 'head', 'reported', 'end'],
    lines: [started, /^upstream_hangup, connection_reset: ./, counts('upstream_hangup')],
  },
  'one that is truncated': {
    upstream: (exchange) => exchange.open().data(chatChunk('Hello')).end(),
    channels: ['start', 'head', 'reported', 'end'],
    lines: [started, /^upstream_truncated, upstream_truncated: ./, counts('upstream_truncated', '2')],
  },
  'one that falls silent': {
    upstream: (exchange) => exchange.open().data(chatChunk('Hello')),
    settings: { options: { timeouts: { inactivityMs: 100 }, writer: { heartbeatMs: 40 } } },
    channels: ['start', 'head', 'timeout', 'reported', 'end'],
    lines: [
      started,
      /^timeout, upstream_inactivity_timeout: ./,
      /^inactivity after 100 ms$/,
      counts('timeout', '2'),
    ],
  },
  'one that never begins': {
    upstream: () => {},
    settings: { options: { timeouts: { firstByteMs: 100 } } },
    channels: ['start', 'timeout', 'reported', 'end'],
    lines: [
      started,
      /^timeout, upstream_first_byte_timeout: ./,
      /^firstByte after 100 ms$/,
      counts('timeout', '0'),
    ],
  },
  'a client that leaves': {
    upstream: (exchange) => exchange.open().data(chatChunk('Hello')),
    client: async (client, scene) => {
      await client.received('Hello')
      client.leave()
      await (await scene.exchange(0)).closed
      return undefined
    },
    channels: ['start', 'head', 'end'],
    lines: [started, /^client_gone, client_disconnected: ./, counts('client_gone', '1')],
  },
  'a handler that throws': {
    upstream: (exchange) => exchange.open().data(chatChunk('Hello'), bugTrigger),
    request: { mapped: true },
    channels: ['start', 'head', 'reported', 'end'],
    lines: [started, /^internal, internal_error: ./, counts('internal', '2')],
  },
}

/** The process's reports of a stream: on the diagnostics channels, in the record, and under `DEBUG`. */
export function testAccounts(mount: Mount): void {
  describe.each(Object.entries(cases))('the reports of %s', (_name, each) => {
    let account: Account
    beforeAll(async () => {
      account = await observe(mount, each)
    })

    test('the channels speak in this order, and of each upstream once', () => {
      const names = account.messages.map(([name]) => name)
      expect(names.filter((name) => name !== 'cleanup')).toEqual(each.channels)
      const released = names.filter((name) => name === 'cleanup').length
      if (mount.releases === 'each step') expect([0, 2]).toContain(released)
      else expect(released).toBe(isReleased(mount, account.seen) ? 1 : 0)
      const { timeout, reported } = Object.fromEntries(account.messages)
      if (timeout) expect(timeout.timeoutMs).toBe(100)
      const { outcome, reason } = account.end
      const headersSent = account.seen?.status === 200
      if (reported) expect(reported).toMatchObject({ outcome, code: reason?.code, headersSent })
    })

    test('the record counts what the client got', () => {
      if (account.seen) expectCounts(account.end, account.seen)
      expect(account.end).toMatchObject({
        requestId: account.requestId,
        status: account.seen ? account.seen.status : 200,
        usage: expect.anything(),
        suppressed: [],
      })
    })

    test('the debug lines name the request, are the same on every mount, and round what they measured', () => {
      const { lines, requestId } = account
      // Earlier streams may still be closing.
      expect(lines.filter((line) => !/^contract-\d+: /.test(line))).toEqual([])
      const own = lines.filter((line) => line.startsWith(`${requestId}: `))
      expect(own.join('\n')).not.toMatch(/\d\.\d/)
      const cleanups = own.filter(isCleanup)
      expect(cleanups).toHaveLength(account.messages.filter(([name]) => name === 'cleanup').length)
      const others = own.filter((line) => !isCleanup(line)).map((line) => line.slice(requestId.length + 2))
      expect(others).toEqual(each.lines.map((line) => expect.stringMatching(line)))
    })
  })
}

/** An upstream that has not responded has no owner yet. */
const isReleased = ({ releases }: Mount, seen: Seen | undefined) =>
  releases === 'the upstream' && seen?.status !== 504

const isCleanup = (line: string) => /, closed (true|false), forced /.test(line)

async function observe(mount: Mount, { upstream, client: act, request, settings }: Case): Promise<Account> {
  using observation = observeStreams()
  await using scene = await startScene(mount, upstream, settings)
  const client = await scene.ask(request)
  const { requestId } = client
  const seen = act ? await act(client, scene) : await client.finished()
  const end = await scene.end(requestId)
  await observation.until(
    () =>
      (!isReleased(mount, seen) || observation.messages(requestId).some(([name]) => name === 'cleanup')) &&
      observation.lines.some((line) => line.startsWith(requestId) && / \d+ bytes, /.test(line)),
  )
  // Events that would come in these turns would come too often.
  await new Promise((resolve) => setImmediate(() => setImmediate(resolve)))
  return { requestId, end, seen, messages: observation.messages(requestId), lines: [...observation.lines] }
}
