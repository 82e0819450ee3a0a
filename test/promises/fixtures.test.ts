import type { RequestListener } from 'node:http'
import { describe, expect, test } from 'vitest'
import { assertCleanEnding } from '../../src/testing/index.js'
import { chatAnswer, chatChunk, textOf } from '../support/chat.js'
import { startFixtureProcess } from '../support/fixture-process.js'
import { chatPath, type Fixture, fixtures, type Harm, type Trouble } from '../support/fixtures.js'
import { listen } from '../support/proxy.js'
import { type RawClient, rawRequest } from '../support/raw-client.js'
import { type Script, type ScriptedUpstream, startUpstream } from '../support/scripted-upstream.js'
import { expectHttpProxyWarning } from '../support/warnings.js'

interface Course {
  script: Script
  /** The fault that follows once the client has the first event. */
  next?(upstream: ScriptedUpstream, client: RawClient): unknown
  /** The deadline that it must not wait a minute for. All others are long: a busy machine must not look like a silent upstream. */
  timeouts?: { firstByteMs: number } | { inactivityMs: number }
  /** The client's part of it in the end. */
  kept(client: RawClient): void
}

const begins: Script = (exchange) => exchange.open().data(chatChunk('Hello'))

/** Its text is there, and one error event, which is last: no text of the proxy's own follows it. */
const failsWith = (code: string) => (client: RawClient) => {
  expect(assertCleanEnding(client)?.code).toBe(code)
  expect(textOf(client.data)).toBe('Hello')
}

const courses: Record<Trouble, Course> = {
  'an upstream that resets mid-stream': {
    script: begins,
    next: async (upstream) => (await upstream.exchange(0)).reset(),
    kept: failsWith('connection_reset'),
  },
  'an upstream that hangs up mid-stream': {
    script: begins,
    next: async (upstream) => (await upstream.exchange(0)).fin(),
    kept: failsWith('connection_reset'),
  },
  'an upstream that ends too early': {
    script: begins,
    next: async (upstream) => (await upstream.exchange(0)).end(),
    kept: failsWith('upstream_truncated'),
  },
  'an upstream that never begins': {
    script: () => {},
    timeouts: { firstByteMs: 500 },
    kept(client) {
      expect(client.status).toBe(504)
      expect(client.json.error.code).toBe('upstream_first_byte_timeout')
    },
  },
  'an upstream that falls silent': {
    script: begins,
    next: () => {},
    timeouts: { inactivityMs: 500 },
    kept: failsWith('upstream_inactivity_timeout'),
  },
}

async function withClient(
  listener: (url: string) => RequestListener,
  script: Script,
  use: (client: RawClient, upstream: ScriptedUpstream) => unknown,
): Promise<void> {
  await using upstream = await startUpstream(script)
  await using server = await listen(listener(upstream.url))
  using client = rawRequest({ port: server.port, path: chatPath, body: { stream: true } })
  await use(client, upstream)
}

/** Takes its course, up to where the client can only wait. */
async function take({ next }: Course, client: RawClient, upstream: ScriptedUpstream): Promise<void> {
  if (!next) return
  await client.received('Hello')
  await next(upstream, client)
}

/** After a while a client has waited enough. The short deadlines behind the guard are a third of it. */
const isOver = (happened: Promise<unknown>): Promise<boolean> =>
  Promise.race([
    happened.then(() => true),
    new Promise<boolean>((resolve) => setTimeout(resolve, 1_500, false)),
  ])

const troublesOf = ({ harm }: Fixture, wanted: Harm) =>
  Object.entries(courses).filter(([trouble]) => harm[trouble as Trouble] === wanted)

expectHttpProxyWarning()

describe.concurrent.each(Object.entries(fixtures))('%s', (name, fixture) => {
  const { app, guarded, leaves, lacksSignal } = fixture

  test.for(troublesOf(fixture, 'hang'))('%s: hang without the guard', ([, course]) =>
    withClient(app, course.script, async (client, upstream) => {
      await take(course, client, upstream)
      expect(await isOver(client.finished())).toBe(false)
    }),
  )

  test.for(troublesOf(fixture, 'cut'))('%s: cut without the guard', ([, course]) =>
    withClient(app, course.script, async (client, upstream) => {
      await take(course, client, upstream)
      await client.closed()
      expect(client.body.complete).toBe(false)
    }),
  )

  test.for(troublesOf(fixture, 'truncation'))('%s: truncation without the guard', ([, course]) =>
    withClient(app, course.script, async (client, upstream) => {
      await take(course, client, upstream)
      await client.finished()
      expect(client.body.complete).toBe(true)
      expect(client.status).toBe(200)
      expect(textOf(client.data)).toBe('Hello')
      expect(client.bodyText).not.toMatch(/error"|\[DONE\]/)
    }),
  )

  test.for(troublesOf(fixture, 'false [DONE]'))('%s: [DONE] without the guard', ([, course]) =>
    withClient(app, course.script, async (client, upstream) => {
      await take(course, client, upstream)
      await client.finished()
      expect(client.body.complete).toBe(true)
      expect(textOf(client.data)).toBe('Hello')
      expect(client.data.at(-1)).toBe('[DONE]')
    }),
  )

  test.for(troublesOf(fixture, 'the process ends'))(
    '%s: the process ends without the guard',
    async ([, course]) => {
      await using upstream = await startUpstream(course.script)
      await using bare = await startFixtureProcess(name, upstream.url)
      using client = rawRequest({ port: bare.port, path: chatPath, body: { stream: true } })
      await take(course, client, upstream)
      const { code, trace } = await bare.ended()
      expect(code).toBe(1)
      expect(trace).toMatch(/ERR_HTTP_HEADERS_SENT|Unhandled 'error' event/)
      await client.closed()
      expect(client.body.complete).toBe(false)
    },
  )

  test.for(Object.entries(courses))('%s: the client has an ending behind the guard', ([, course]) => {
    const { timeouts } = course
    const listener = (url: string) => guarded(url, { timeouts })
    return withClient(listener, course.script, async (client, upstream) => {
      await take(course, client, upstream)
      await client.finished()
      course.kept(client)
    })
  })

  if (leaves === 'leak') {
    test('a client that leaves: leak without the guard', () =>
      withClient(app, begins, async (client, upstream) => {
        const { closed } = await upstream.exchange(0)
        await client.received('Hello')
        client.reset()
        expect(await isOver(closed)).toBe(false)
      }))
  }

  if (!lacksSignal) {
    test('a client that leaves: the upstream is released behind the guard', () =>
      withClient(guarded, begins, async (client, upstream) => {
        const { closed } = await upstream.exchange(0)
        await client.received('Hello')
        client.reset()
        await closed
      }))
  }

  test('a good stream passes byte for byte, with and without', async () => {
    const texts: string[] = []
    for (const listener of [app, guarded]) {
      await withClient(
        listener,
        (exchange) =>
          exchange
            .open()
            .data(...chatAnswer('Hel', 'lo'))
            .end(),
        async (client) => {
          await client.finished()
          // better-sse makes the ids up.
          texts.push(client.bodyText.replace(/^id:.*$/gm, 'id:'))
        },
      )
    }
    expect(texts[0]).toBe(texts[1])
    expect(texts[0]).toContain('[DONE]')
  })
})
