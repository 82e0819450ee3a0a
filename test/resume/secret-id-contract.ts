import debug from 'debug'
import { afterEach, describe, expect, test, vi } from 'vitest'
import type { ResumeStore } from '../../src/resume/resume-store.js'
import { withResolvers } from '../support/with-resolvers.js'
import { chatEvents, eventsIn, routeMount, startResumable, user } from './resumable.js'
import type { StoresUnderTest } from './store-contract.js'

/** A store in front of another one, which notes what that one throws. */
function noting(store: ResumeStore, thrown: unknown[]): ResumeStore {
  const note = (error: unknown) => {
    thrown.push(error)
    throw error
  }
  return {
    record: (...about) => store.record(...about).catch(note),
    find: (id) => store.find(id).catch(note),
    follow: (...from) => store.follow(...from),
    stop: (...about) => store.stop(...about).catch(note),
  }
}

/** What a log would show of the ids that an app chooses: nothing. */
export function secretIdContract(
  name: string,
  makeStores: () => Promise<StoresUnderTest & { breakOff?(id: string): Promise<unknown> }>,
): void {
  describe(`an id that the app has chosen, with ${name}`, () => {
    const closing: (() => unknown)[] = []
    afterEach(async () => {
      debug.disable()
      vi.restoreAllMocks()
      for (const close of closing.splice(0).reverse()) await close()
    })

    test('stands in no log line, no warning and no error message', async () => {
      const written: string[] = []
      const note = (...said: unknown[]) => {
        written.push(said.map(String).join(' '))
        return true
      }
      vi.spyOn(process.stderr, 'write').mockImplementation(note as never)
      vi.spyOn(process, 'emitWarning').mockImplementation(note as never)
      for (const level of ['log', 'warn', 'error'] as const) vi.spyOn(console, level).mockImplementation(note)
      debug.enable('unhang:*')

      const id = 'chosen-and-secret'
      const thrown: unknown[] = []
      const stores = await makeStores()
      closing.push(() => stores.close())
      const gate = withResolvers()
      const server = await startResumable(
        routeMount,
        noting(stores.producer, thrown),
        async ({ writer }) => {
          for (const [at, event] of chatEvents(12).entries()) {
            if (at === 6) await gate.promise
            await writer.write(event)
          }
        },
        { streamId: () => id },
      )
      closing.push(() => server[Symbol.asyncDispose]())
      const post = () => fetch(`${server.url}/v1/chat/completions`, { method: 'POST', headers: user })
      const ask = (query = '', headers: Record<string, string> = user, method = 'GET') =>
        fetch(`${server.url}/v1/streams/${id}${query}`, { headers, method })
      const statusOf = async (asked: Promise<Response>) => {
        const response = await asked
        await response.text()
        return response.status
      }

      const live = await post()
      await expect.poll(async () => (await server.resume.find(id))?.last).toBe(6)
      expect(await statusOf(post())).toBe(409)
      expect(await statusOf(ask('', { 'x-user': 'bob' }))).toBe(404)
      expect(await statusOf(ask('?after=-1'))).toBe(400)
      const beside = ask()
      await beside
      expect(await statusOf(ask('', user, 'DELETE'))).toBe(204)
      expect(eventsIn(await (await beside).text()).at(-1)).toContain('request_aborted')
      await live.text()
      gate.resolve()
      if (stores.breakOff) {
        await stores.breakOff(id)
        expect(await statusOf(ask())).toBe(503)
        expect(await statusOf(ask('', user, 'DELETE'))).toBe(503)
        expect(await statusOf(post())).toBe(200)
      }
      const messages = thrown.map((error) => `${error}\n${(error as Error).stack}`)
      expect(messages.join('\n')).toContain('StreamIdTaken')
      const log = written.join('\n')
      expect(log).toContain('unhang:stream')
      expect(log).toContain('aborted')
      if (stores.breakOff) expect(log).toContain('a stream cannot be rejoined')
      expect([...written, ...messages].filter((line) => line.includes(id))).toEqual([])
    })
  })
}
