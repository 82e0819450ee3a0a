import { expect, test } from 'vitest'
import { memoryStore } from '../../src/resume/memory-store.js'
import type { Recorder, ResumeStore } from '../../src/resume/resume-store.js'
import { withResolvers } from '../support/with-resolvers.js'
import { chatEvents, eventsIn, fetchMount, routeMount, startResumable, user } from './resumable.js'

const events = chatEvents(12)

/** A store of the app's own, which fails at the fifth event, and at every end. */
function failingStore(begun: Promise<unknown>): ResumeStore {
  const store = memoryStore()
  return {
    find: (id) => store.find(id),
    follow: (id, after, signal) => store.follow(id, after, signal),
    stop: (id, why) => store.stop(id, why),
    async record(id, about, heard) {
      const recorder = await store.record(id, about, heard)
      await begun
      let appended = 0
      return {
        append(text, count) {
          if (++appended >= 5) throw new Error('the disk is full')
          recorder.append(text, count)
        },
        end: () => Promise.reject(new Error('the disk is full')),
        get complete() {
          return recorder.complete
        },
        get followers() {
          return recorder.followers
        },
      } satisfies Recorder
    },
  }
}

test.each([
  ['a route', 'at once', routeMount],
  ['a route', 'late', routeMount],
  ['a fetch handler', 'at once', fetchMount],
  ['a fetch handler', 'late', fetchMount],
])('%s: a store that begins %s and then throws fails no stream', async (_, when, mount) => {
  const begun = withResolvers()
  if (when === 'at once') begun.resolve()
  const store = failingStore(begun.promise)
  await using server = await startResumable(mount, store, async ({ writer }) => {
    for (const event of events) await writer.write(event)
    begun.resolve()
  })
  const response = await fetch(`${server.url}/v1/chat/completions`, { method: 'POST', headers: user })
  expect(eventsIn(await response.text())).toEqual(events)
  await expect.poll(() => server.ends).toMatchObject([{ outcome: 'completed', recorded: false }])
})
