import { once } from 'node:events'
import { Agent, type IncomingMessage, request } from 'node:http'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { afterEach, describe, expect, test } from 'vitest'
import type { ResumeStore } from '../../src/resume/resume-store.js'
import { chatEvents, readSome, routeMount, startResumable, user } from './resumable.js'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

/** A store, and what a guess may leave behind outside of this process. */
interface GuessedStore {
  readonly store: ResumeStore
  /** How many commands its server has had. */
  commands?(): Promise<number>
  /** Keys, channels and connections of its server. */
  state?(): Promise<unknown>
  close?(): unknown
}

/** How many commands one guess may cost. */
const maxCommands = 4
/** An id is as long as ids may be: what remembers one holds more than 200 bytes. */
const idLength = 200
const maxKeptBytes = 150
const guesses = 400

/** What those who guess ids get, and what it costs. */
export function guessesContract(name: string, open: () => Promise<GuessedStore>): void {
  describe(`ids that are guessed, with ${name}`, () => {
    const closing: (() => unknown)[] = []
    afterEach(async () => {
      for (const close of closing.splice(0).reverse()) await close()
    })

    test('each is 404, whether or not there is such a stream, and nothing is left of it', async () => {
      const { store, commands, state, close } = await open()
      if (close) closing.push(close)
      const taken = 'taken'.padEnd(idLength, '-')
      const server = await startResumable(
        routeMount,
        store,
        async ({ writer }) => {
          for (const event of chatEvents(5)) await writer.write(event)
        },
        { streamId: () => taken },
      )
      closing.push(() => server[Symbol.asyncDispose]())
      await readSome(`${server.url}/v1/chat/completions`, { method: 'POST', headers: user }, 5)
      await expect.poll(async () => (await server.resume.find(taken))?.end?.outcome).toBe('completed')

      const agent = new Agent({ keepAlive: true, maxSockets: 1 })
      closing.push(() => agent.destroy())
      const said = new Set<string>()
      let guessed = 0
      async function guess(id = `${guessed}-`.padEnd(idLength, 'x')) {
        const asked = request({
          port: server.port,
          agent,
          method: guessed++ % 2 ? 'GET' : 'DELETE',
          path: `/v1/streams/${id}?after=2`,
          headers: { 'x-user': 'mallory' },
        }).end()
        const [response] = (await once(asked, 'response')) as [IncomingMessage]
        const { date: _, ...headers } = response.headers
        let body = ''
        for await (const chunk of response) body += chunk
        said.add(JSON.stringify([response.statusCode, headers, body]))
      }
      const heapUsed = () => {
        collect()
        return process.memoryUsage().heapUsed
      }
      const facts = async () => ({ commands: (await commands?.()) ?? 0, state: await state?.() })

      for (let count = 0; count < guesses; count++) await guess(count % 2 ? taken : undefined)
      const { state: before } = await facts()
      // Node itself compiles, and caches: what each guess left behind would be there in every round.
      let leastKept = Number.POSITIVE_INFINITY
      for (let round = 0; round < 12 && leastKept >= maxKeptBytes; round++) {
        const heap = heapUsed()
        for (let count = 0; count < guesses; count++) await guess()
        leastKept = Math.min(leastKept, (heapUsed() - heap) / guesses)
      }
      expect(leastKept).toBeLessThan(maxKeptBytes)
      for (const id of [taken, undefined]) {
        const { commands: had } = await facts()
        for (let count = 0; count < 100; count++) await guess(id)
        // Some come in between: a lease is renewed, and these numbers are asked for.
        expect(((await facts()).commands - had) / 100).toBeLessThanOrEqual(maxCommands + 0.1)
      }
      expect((await facts()).state).toEqual(before)
      expect([...said]).toEqual([expect.stringMatching(/^\[404,/)])
      expect(await server.resume.find(taken)).toMatchObject({ last: 5 })
    }, 60_000)
  })
}
