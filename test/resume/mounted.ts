import { afterEach, describe, expect, test } from 'vitest'
import type { GuardOptions, StreamEnd } from '../../src/index.js'
import { memoryStore, type Resume } from '../../src/resume/index.js'
import { type ScriptedUpstream, startUpstream } from '../support/scripted-upstream.js'
import { withResolvers } from '../support/with-resolvers.js'
import { chatEvents, eventsIn, readSome, user } from './resumable.js'

const count = 62
export const events = chatEvents(count)
export const chat = '/v1/chat/completions'

/** What is closed after each test. */
export const closing: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

/** An upstream that waits after half of its answer until it is let on. */
export async function startHalf(): Promise<ScriptedUpstream & { letOn(): void; left: Promise<void> }> {
  const gate = withResolvers()
  const left = withResolvers()
  const upstream = await startUpstream(async (exchange) => {
    exchange.socket.on('close', () => left.resolve())
    exchange.open().data(...events.slice(0, count / 2))
    await gate.promise
    exchange.data(...events.slice(count / 2)).end()
  })
  closing.push(() => upstream[Symbol.asyncDispose]())
  return Object.assign(upstream, { letOn: () => gate.resolve(), left: left.promise })
}

/** An upstream that sends five events, and then resets its connection when it is told to. */
export async function startBreaking(): Promise<ScriptedUpstream & { breakOff(): void }> {
  const gate = withResolvers()
  const upstream = await startUpstream(async (exchange) => {
    exchange.open().data(...events.slice(0, 5))
    await gate.promise
    exchange.reset()
  })
  closing.push(() => upstream[Symbol.asyncDispose]())
  return Object.assign(upstream, { breakOff: () => gate.resolve() })
}

type Served = { url: string; resume: Resume; ends: StreamEnd[] }
export type Mount = (
  upstream: string,
  settings?: { detachMs?: number; adopt?: GuardOptions['adopt'] },
) => Promise<Served>

export function settingsOf(request: { detachMs?: number } = {}) {
  const ends: StreamEnd[] = []
  const store = memoryStore()
  const onEnd = (end: StreamEnd) => {
    ends.push(end)
    return true
  }
  return { ends, store, onEnd, detachMs: request.detachMs }
}

/** What holds wherever the option `resume` stands. */
export function testMounts(mounts: Record<string, Mount>): void {
  describe.each(Object.entries(mounts))('%s', (_, mount) => {
    test('a client that has left rejoins its stream: 62 of 62', async () => {
      const upstream = await startHalf()
      const { url, resume, ends } = await mount(upstream.url)
      const first = await readSome(url + chat, { method: 'POST', headers: user }, 10)
      const id = first.response.headers.get('unhang-stream') as string
      first.leave()
      await expect.poll(async () => (await resume.find(id))?.last).toBe(count / 2)
      const rest = await fetch(`${url}/v1/streams/${id}?after=${first.events.length}`, { headers: user })
      upstream.letOn()
      expect([...first.events, ...eventsIn(await rest.text())]).toEqual(events)
      await expect
        .poll(() => ends)
        .toContainEqual(
          expect.objectContaining({
            outcome: 'completed',
            streamId: id,
            recorded: true,
            detached: true,
            events: count,
          }),
        )
      const unknown = await fetch(`${url}/v1/streams/${id}`, { headers: { 'x-user': 'bob' } })
      expect(unknown.status).toBe(404)
    })

    test('no client comes back: the upstream is let go after detachMs', async () => {
      const upstream = await startHalf()
      const { url, ends } = await mount(upstream.url, { detachMs: 50 })
      const first = await readSome(url + chat, { method: 'POST', headers: user }, 10)
      first.leave()
      await upstream.left
      await expect.poll(() => ends).toMatchObject([{ outcome: 'client_gone', detached: true }])
    })
  })
}
