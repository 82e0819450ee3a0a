import { afterEach, describe, expect, test } from 'vitest'
import type {
  Followed,
  RecordedStream,
  Recorder,
  RecorderEvents,
  ResumeStore,
  StoredEnd,
} from '../../src/resume/resume-store.js'

/** Two instances over the same backing, as two processes would have them. For a store in memory both are the same one. */
export interface StoresUnderTest {
  readonly producer: ResumeStore
  readonly reader: ResumeStore
  close(): Promise<void> | void
}

const completed: StoredEnd = { outcome: 'completed', code: undefined, message: undefined }
const limits = { maxBytes: 1024 * 1024, maxEvents: 10_000, ttlMs: 60_000 }

function about(more: Partial<RecordedStream> = {}): RecordedStream {
  return {
    owner: 'a2V5',
    dialect: 'openai-chat',
    framing: 'sse',
    requestId: 'request-1',
    model: 'm',
    limits,
    ...more,
  }
}

const text = (number: number) => `data: ${number} – né 😀\n\n`
const texts = (first: number, last: number) =>
  Array.from({ length: last - first + 1 }, (_, at) => text(first + at)).join('')

/** The items that a follower has been handed, in the words of the events. */
class Reading {
  /** Numbers of events, in the order in which they came. */
  readonly events: number[] = []
  readonly gaps: (readonly [number, number])[] = []
  end: StoredEnd | undefined
  readonly #after: number

  constructor(after = 0) {
    this.#after = after
  }

  /** @returns how many events the client of this follower has had by now, also those it was told are gone */
  get had(): number {
    return Math.max(this.#after, this.events.at(-1) ?? 0, this.gaps.at(-1)?.[1] ?? 0)
  }

  take(followed: Followed): void {
    expect(this.end, 'nothing comes after the end').toBeUndefined()
    if ('end' in followed) this.end = followed.end
    else if ('gap' in followed) {
      const [from, to] = followed.gap
      expect(from, 'a gap begins where the follower is').toBe(this.had + 1)
      expect(to).toBeGreaterThanOrEqual(from)
      this.gaps.push(followed.gap)
    } else {
      const { events, first, last } = followed
      expect(events).toBe(texts(first, last))
      expect(first, 'never after the one that was asked for').toBeLessThanOrEqual(this.had + 1)
      for (let number = Math.max(first, this.had + 1); number <= last; number++) this.events.push(number)
    }
  }
}

/** The promises of every store to recorders and followers. */
export function storeContract(name: string, makeStores: () => Promise<StoresUnderTest>): void {
  describe(`a stream in ${name}`, () => {
    let stores: StoresUnderTest | undefined
    const signals: AbortController[] = []
    let ids = 0

    afterEach(async () => {
      for (const controller of signals.splice(0)) controller.abort()
      await stores?.close()
      stores = undefined
    })

    const open = async () => {
      stores = await makeStores()
      return stores
    }
    const newId = () => `contract-${process.pid}-${Date.now()}-${ids++}`
    const quiet: RecorderEvents = { stop() {}, fenced() {} }
    const begin = (id: string, more: Partial<RecordedStream> = {}, events = quiet) =>
      (stores as StoresUnderTest).producer.record(id, about(more), events)

    function signal(): AbortSignal {
      const controller = new AbortController()
      signals.push(controller)
      return controller.signal
    }

    /** Follows on until the end, or until so many events have been had. */
    async function read(
      id: string,
      { after = 0, until = Number.POSITIVE_INFINITY, from = 'reader' as 'reader' | 'producer' } = {},
    ): Promise<Reading> {
      const reading = new Reading(after)
      for await (const followed of (stores as StoresUnderTest)[from].follow(id, after, signal())) {
        reading.take(followed)
        if (reading.had >= until) break
      }
      return reading
    }

    const numbers = (first: number, last: number) =>
      Array.from({ length: last - first + 1 }, (_, at) => first + at)

    test('recorded events are replayed, with their end', async () => {
      await open()
      const id = newId()
      const recorder = await begin(id)
      recorder.append(texts(1, 2), 2)
      recorder.append(text(3), 1)
      expect(recorder.complete).toBe(true)
      await recorder.end(completed)
      expect(recorder.complete).toBe(true)
      const { events, gaps, end } = await read(id)
      expect(events).toEqual([1, 2, 3])
      expect(gaps).toEqual([])
      expect(end).toEqual(completed)
    })

    test('a follower reads the events that are there, then the new ones, in order and once', async () => {
      await open()
      const id = newId()
      const recorder = await begin(id)
      recorder.append(texts(1, 5), 5)
      const early = read(id)
      const beside = read(id, { from: 'producer' })
      for (let number = 6; number <= 200; number++) {
        recorder.append(text(number), 1)
        if (number % 10 === 0) await new Promise((resolve) => setImmediate(resolve))
      }
      const late = read(id)
      await recorder.end(completed)
      for (const reading of await Promise.all([early, beside, late])) {
        expect(reading.events).toEqual(numbers(1, 200))
        expect(reading.end).toEqual(completed)
      }
    })

    test('a client that reconnects twelve times gets every event once', async () => {
      await open()
      const id = newId()
      const recorder = await begin(id)
      const beside = read(id)
      const got: number[] = []
      const client = (async () => {
        for (let connection = 1; connection <= 12; connection++) {
          const { events } = await read(id, { after: got.length, until: connection * 25 })
          got.push(...events)
        }
        const { events, end } = await read(id, { after: got.length })
        got.push(...events)
        return end
      })()
      for (let number = 1; number <= 400; number += 4) {
        recorder.append(texts(number, number + 3), 4)
        await new Promise((resolve) => setImmediate(resolve))
      }
      await recorder.end(completed)
      expect(await client).toEqual(completed)
      expect(got).toEqual(numbers(1, 400))
      expect((await beside).events).toEqual(numbers(1, 400))
    })

    test('a cursor in the middle of events that were appended together', async () => {
      await open()
      const id = newId()
      const recorder = await begin(id)
      recorder.append(texts(1, 10), 10)
      await recorder.end(completed)
      for (const after of [0, 1, 5, 9]) {
        expect((await read(id, { after })).events).toEqual(numbers(after + 1, 10))
      }
    })

    test('a cursor at the end, or after it, gets the end', async () => {
      await open()
      const id = newId()
      const recorder = await begin(id)
      recorder.append(texts(1, 3), 3)
      await recorder.end(completed)
      for (const after of [3, 4, 1e9]) {
        const { events, gaps, end } = await read(id, { after })
        expect({ events, gaps, end }).toEqual({ events: [], gaps: [], end: completed })
      }
    })

    test('a cursor that is ahead waits until there is more', async () => {
      await open()
      const id = newId()
      const recorder = await begin(id)
      recorder.append(texts(1, 3), 3)
      const ahead = read(id, { after: 5 })
      await expect.poll(() => recorder.followers).toBe(1)
      recorder.append(texts(4, 7), 4)
      await recorder.end(completed)
      expect((await ahead).events).toEqual([6, 7])
    })

    test('how it ended, with code and message, for every reader', async () => {
      await open()
      const id = newId()
      const recorder = await begin(id)
      recorder.append(text(1), 1)
      const during = read(id)
      await expect.poll(() => recorder.followers).toBe(1)
      const how = {
        outcome: 'upstream_hangup',
        code: 'connection_reset',
        message: 'It – 😀 – "hung" up.\n',
        status: 503,
      }
      await recorder.end(how)
      expect((await during).end).toEqual(how)
      expect((await read(id)).end).toEqual(how)
      expect((await stores?.reader.find(id))?.end).toEqual(how)
    })

    test('a stream that ends before its first event', async () => {
      await open()
      const id = newId()
      const recorder = await begin(id)
      const during = read(id)
      await recorder.end(completed)
      expect((await during).end).toEqual(completed)
      expect(await read(id)).toMatchObject({ events: [], end: completed })
    })

    test('nothing that comes after the end is recorded', async () => {
      await open()
      const id = newId()
      const recorder = await begin(id)
      recorder.append(text(1), 1)
      await recorder.end(completed)
      recorder.append(text(2), 1)
      await recorder.end({ ...completed, outcome: 'aborted' })
      expect(await read(id)).toMatchObject({ events: [1], end: completed })
    })

    test('the facts about a stream', async () => {
      const { reader } = await open()
      const id = newId()
      expect(await reader.find(id)).toBeUndefined()
      const facts = about({ owner: undefined, model: undefined, framing: 'ndjson', dialect: 'ollama' })
      const recorder = await begin(id, facts)
      await expect.poll(() => reader.find(id)).toMatchObject({ about: facts, first: 0, last: 0 })
      recorder.append(texts(1, 4), 4)
      await expect.poll(() => reader.find(id)).toMatchObject({ first: 1, last: 4, end: undefined })
      await recorder.end(completed)
      expect(await reader.find(id)).toEqual({ about: facts, first: 1, last: 4, end: completed })
    })

    test('a follower that goes away is gone', async () => {
      const { reader } = await open()
      const id = newId()
      const recorder = await begin(id)
      const controller = new AbortController()
      const reading = (async () => {
        for await (const followed of reader.follow(id, 0, controller.signal)) expect(followed).toBeUndefined()
      })()
      await expect.poll(() => recorder.followers).toBe(1)
      controller.abort()
      await reading
      await expect.poll(() => recorder.followers).toBe(0)
      await recorder.end(completed)
    })

    test('a follower that has left before it began reads nothing', async () => {
      const { reader } = await open()
      const id = newId()
      const recorder = await begin(id)
      recorder.append(text(1), 1)
      const left: Followed[] = []
      for await (const followed of reader.follow(id, 0, AbortSignal.abort())) left.push(followed)
      expect(left).toEqual([])
      await recorder.end(completed)
    })

    test('an unknown stream has one end, and no other word', async () => {
      await open()
      const { events, gaps, end } = await read(newId())
      expect({ events, gaps }).toEqual({ events: [], gaps: [] })
      expect(end).toMatchObject({ outcome: 'upstream_hangup', code: 'resume_forgotten' })
    })

    test('an id is taken while its stream is being produced', async () => {
      await open()
      const id = newId()
      const recorder = await begin(id)
      recorder.append(texts(1, 9), 9)
      await expect.poll(() => stores?.reader.find(id)).toMatchObject({ last: 9 })
      await expect(begin(id)).rejects.toThrow(expect.objectContaining({ name: 'StreamIdTaken' }))
      await expect(stores?.reader.record(id, about(), quiet)).rejects.toThrow(
        expect.objectContaining({ name: 'StreamIdTaken' }),
      )
      await recorder.end(completed)
      // Afterwards it is free again, and nothing is left of the first one.
      const second = await begin(id, { requestId: 'request-2' })
      second.append(text(1), 1)
      await second.end(completed)
      expect((await read(id)).events).toEqual([1])
      expect((await stores?.reader.find(id))?.about.requestId).toBe('request-2')
    })

    test('events that had to go are reported as a gap, and the rest follows', async () => {
      await open()
      const id = newId()
      const recorder = await begin(id, { limits: { ...limits, maxEvents: 10 } })
      for (let number = 1; number <= 2_000; number++) recorder.append(text(number), 1)
      await recorder.end(completed)
      const { events, gaps, end } = await read(id)
      expect(gaps).toHaveLength(1)
      expect(gaps[0]?.[0]).toBe(1)
      const first = (gaps[0]?.[1] ?? 0) + 1
      expect(events).toEqual(numbers(first, 2_000))
      // A store may keep somewhat more than it was asked to.
      expect(events.length).toBeGreaterThanOrEqual(10)
      expect(events.length).toBeLessThan(1_000)
      expect(end).toEqual(completed)
      expect((await stores?.reader.find(id))?.first).toBe(first)
      // A follower that has had the missing ones misses nothing.
      expect((await read(id, { after: first - 1 })).gaps).toEqual([])
    })

    test('a follower that does not read costs no more than the stream keeps', async () => {
      const { reader } = await open()
      const id = newId()
      const maxBytes = 64 * 1024
      const recorder = await begin(id, { limits: { ...limits, maxBytes } })
      recorder.append(text(1), 1)
      const slow = new Reading()
      const following = reader.follow(id, 0, signal())[Symbol.asyncIterator]()
      slow.take((await following.next()).value)
      for (let number = 2; number <= 20_000; number++) {
        recorder.append(text(number), 1)
        if (number % 500 === 0) await new Promise((resolve) => setImmediate(resolve))
      }
      await recorder.end(completed)
      for (let next = await following.next(); !next.done; next = await following.next()) slow.take(next.value)
      expect(slow.gaps.length).toBeGreaterThan(0)
      expect(slow.events.length).toBeLessThan(20_000)
      expect(slow.had).toBe(20_000)
      expect(slow.end).toEqual(completed)
    })

    test('a stop reaches the producer, once, also before the first event', async () => {
      const { reader } = await open()
      const id = newId()
      const heard: string[] = []
      const recorder = await begin(id, {}, { ...quiet, stop: (why) => heard.push(why) })
      await expect.poll(() => reader.find(id)).toBeDefined()
      expect(await reader.stop(id, 'enough')).toBe(true)
      await expect.poll(() => heard).toEqual(['enough'])
      // The first one is under way.
      expect(await reader.stop(id, 'again')).toBe(true)
      await recorder.end({ outcome: 'aborted', code: 'request_aborted', message: 'enough' })
      expect(await reader.stop(id)).toBe(false)
      expect(await reader.stop(newId())).toBe(false)
      expect(heard).toEqual(['enough'])
      expect((await read(id)).end?.outcome).toBe('aborted')
    })

    test('a stream is forgotten some time after its end', async () => {
      const { reader } = await open()
      const id = newId()
      const recorder = await begin(id, { limits: { ...limits, ttlMs: 300 } })
      recorder.append(text(1), 1)
      await recorder.end(completed)
      expect((await read(id)).events).toEqual([1])
      await expect.poll(() => reader.find(id), { timeout: 5_000 }).toBeUndefined()
    })

    test('large and many: nothing is lost between replay and live', async () => {
      await open()
      const id = newId()
      const recorder: Recorder = await begin(id, {
        limits: { ...limits, maxBytes: 64 * 1024 * 1024, maxEvents: 1e6 },
      })
      const readings: Promise<Reading>[] = []
      for (let number = 1; number <= 5_000; number += 10) {
        recorder.append(texts(number, number + 9), 10)
        if (number % 1_000 === 1) readings.push(read(id, { after: number >> 1 }))
        if (number % 100 === 1) await new Promise((resolve) => setImmediate(resolve))
      }
      await recorder.end(completed)
      for (const { events, gaps, end } of await Promise.all(readings)) {
        expect(gaps).toEqual([])
        expect(events).toEqual(numbers(events[0] ?? 0, 5_000))
        expect(end).toEqual(completed)
      }
    })
  })
}
