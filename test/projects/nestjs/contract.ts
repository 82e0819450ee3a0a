import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import {
  assertCleanEnding,
  type RawClient,
  rawRequest,
  type ScriptedUpstream,
  startUpstream,
  type UpstreamScript,
} from 'unhang/testing'
import { startProxy } from './proxy.js'

type Proxy = Awaited<ReturnType<typeof startProxy>>
type Harm = 'hang' | 'truncation' | 'the process ends'

/** The fate of an exchange: without the guard, and the code of the error that its client gets behind the guard. */
interface Course {
  script: UpstreamScript
  /** The fault that follows once the client has the first event. */
  next?(upstream: ScriptedUpstream): unknown
  /** The deadline that it must not wait a minute for. All others are long: a busy machine must not look like a silent upstream. */
  timeouts?: { firstByteMs: number } | { inactivityMs: number }
  harm: { written: Harm; piped: Harm }
  code: { written: string; piped: string }
}

const same = <Value>(value: Value) => ({ written: value, piped: value })
const begins: UpstreamScript = (exchange) =>
  exchange
    .open()
    .data({ object: 'chat.completion.chunk', choices: [{ index: 0, delta: { content: 'Hello' } }] })

// Nest catches the errors of a handler, and ends the response as if all were well. The guard has seen the upstream break.
const broken = {
  harm: { written: 'truncation', piped: 'the process ends' },
  code: same('connection_reset'),
} as const

const courses: Record<string, Course> = {
  'an upstream that resets mid-stream': {
    script: begins,
    next: async (upstream) => (await upstream.exchange(0)).reset(),
    ...broken,
  },
  'an upstream that hangs up mid-stream': {
    script: begins,
    next: async (upstream) => (await upstream.exchange(0)).fin(),
    ...broken,
  },
  'an upstream that ends too early': {
    script: begins,
    next: async (upstream) => (await upstream.exchange(0)).end(),
    harm: same('truncation'),
    code: same('upstream_truncated'),
  },
  'an upstream that never begins': {
    script: () => {},
    timeouts: { firstByteMs: 500 },
    harm: same('hang'),
    code: same('upstream_first_byte_timeout'),
  },
  'an upstream that falls silent': {
    script: begins,
    next: () => {},
    timeouts: { inactivityMs: 500 },
    harm: same('hang'),
    code: same('upstream_inactivity_timeout'),
  },
}

const paths = { written: '/v1/chat/completions', piped: '/piped/v1/chat/completions' }

async function take(
  { script, next }: Pick<Course, 'script' | 'next'>,
  path: string,
  guard: object | undefined,
  look: (client: RawClient, upstream: ScriptedUpstream, proxy: Proxy) => Promise<unknown>,
): Promise<void> {
  await using upstream = await startUpstream(script)
  await using proxy = await startProxy(upstream.url, guard)
  using client = rawRequest({ port: proxy.port, path, body: { stream: true } })
  if (next) {
    await client.received('Hello')
    await next(upstream)
  }
  await look(client, upstream, proxy)
}

/** After a while a client has waited enough. The short deadlines behind the guard are a third of it. */
const isOver = (happened: Promise<unknown>, withinMs = 1_500): Promise<boolean> =>
  Promise.race([
    happened.then(() => true),
    new Promise<boolean>((resolve) => setTimeout(resolve, withinMs, false).unref()),
  ])

/** A test that waits in vain must fail, and not hang. */
const longMs = 20_000

const looks: Record<Harm, (client: RawClient, upstream: ScriptedUpstream, proxy: Proxy) => Promise<void>> = {
  hang: async (client) => assert.equal(await isOver(client.finished()), false),
  async truncation(client) {
    assert.equal(await isOver(client.finished(), longMs), true)
    assert.equal(client.status, 201)
    assert.equal(client.body.complete, true)
    assert.doesNotMatch(client.bodyText, /error|\[DONE\]/)
  },
  async 'the process ends'(client, _upstream, proxy) {
    assert.equal(await isOver(proxy.exited, longMs), true)
    assert.equal(await proxy.exited, 1)
    await client.closed()
    assert.equal(client.body.complete, false)
  },
}

for (const way of ['written', 'piped'] as const) {
  describe(`a stream that is ${way}`, { concurrency: 2 }, () => {
    for (const [name, course] of Object.entries(courses)) {
      test(`${name}: ${course.harm[way]} without the guard`, () =>
        take(course, paths[way], undefined, looks[course.harm[way]]))

      test(`${name}: the client has an ending behind the guard`, () =>
        take(course, paths[way], { timeouts: course.timeouts }, async (client) => {
          await isOver(client.finished(), longMs)
          const error = assertCleanEnding(client)
          assert.equal(error?.code, course.code[way])
          assert.equal(error?.status, course.next ? 201 : 504)
          assert.equal(client.bodyText.includes('Hello'), course.next !== undefined)
        }))
    }
  })
}

describe('a client that leaves', { concurrency: 2 }, () => {
  const next = () => {}
  test('the upstream goes on without the guard', () =>
    take({ script: begins, next }, paths.piped, undefined, async (client, upstream) => {
      const { closed } = await upstream.exchange(0)
      client.reset()
      assert.equal(await isOver(closed), false)
    }))

  test('the upstream is released behind the guard', () =>
    take({ script: begins, next }, paths.piped, {}, async (client, upstream) => {
      const { closed } = await upstream.exchange(0)
      client.reset()
      assert.equal(await isOver(closed, longMs), true)
    }))
})
