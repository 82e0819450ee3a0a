import { expect, test } from 'vitest'
import { type MemoryStoreOptions, memoryStore } from '../../src/resume/memory-store.js'
import type { RecordedStream, Recorder, ResumeStore } from '../../src/resume/resume-store.js'
import { storeContract } from './store-contract.js'

storeContract('memory', async () => {
  const store = memoryStore()
  return { producer: store, reader: store, close() {} }
})

const about: RecordedStream = {
  owner: undefined,
  dialect: 'plain',
  framing: 'sse',
  requestId: 'r',
  model: undefined,
  limits: { maxBytes: 1024 * 1024, maxEvents: 10_000, ttlMs: 60_000 },
}
const completed = { outcome: 'completed', code: undefined, message: undefined }
const record = (store: ResumeStore, id: string): Promise<Recorder> =>
  store.record(id, about, { stop() {}, fenced() {} })

test('the stream that ended first makes room', async () => {
  const store = memoryStore({ maxStreams: 2 })
  await (await record(store, 'a')).end(completed)
  await (await record(store, 'b')).end(completed)
  await (await record(store, 'c')).end(completed)
  expect(await store.find('a')).toBeUndefined()
  expect(await store.find('b')).toBeDefined()
  expect(await store.find('c')).toBeDefined()
})

test('streams that are being produced are not given up for one more', async () => {
  const store = memoryStore({ maxStreams: 1 })
  const first = await record(store, 'a')
  const second = await record(store, 'b')
  second.append('data: 1\n\n', 1)
  await second.end(completed)
  expect(second.complete).toBe(false)
  expect(await store.find('b')).toBeUndefined()
  first.append('data: 1\n\n', 1)
  expect(first.complete).toBe(true)
  expect(await store.find('a')).toMatchObject({ last: 1 })
})

test('one budget of bytes for all: ended streams first, then the oldest events', async () => {
  const store = memoryStore({ maxBytes: 1_000 })
  const event = `data: ${'x'.repeat(92)}\n\n`
  const old = await record(store, 'old')
  const ended = await record(store, 'ended')
  for (let count = 0; count < 5; count++) old.append(event, 1)
  for (let count = 0; count < 5; count++) ended.append(event, 1)
  await ended.end(completed)
  const young = await record(store, 'young')
  young.append(event, 1)
  expect(await store.find('ended')).toBeUndefined()
  expect(await store.find('old')).toMatchObject({ first: 1, last: 5 })
  for (let count = 0; count < 5; count++) young.append(event, 1)
  expect(await store.find('old')).toMatchObject({ first: 2, last: 5 })
  expect(await store.find('young')).toMatchObject({ first: 1, last: 6 })
})

/** 1,000 bytes. */
const kilobyte = `data: ${'x'.repeat(992)}\n\n`

test('a full budget, and an oldest stream that has nothing to give: the others go on', async () => {
  const store = memoryStore({ maxBytes: 10_000 })
  await record(store, 'silent')
  const busy = await record(store, 'busy')
  for (let count = 0; count < 30; count++) busy.append(kilobyte, 1)
  expect(await store.find('busy')).toMatchObject({ first: 21, last: 30 })
})

test('one large append in the place of many small events', async () => {
  const store = memoryStore({ maxBytes: 100_000 })
  const small = await record(store, 'small')
  const large = await record(store, 'large')
  for (let count = 0; count < 10_000; count++) small.append('data: 1\n\n\n', 1)
  large.append(kilobyte.repeat(100), 100)
  expect(await store.find('small')).toMatchObject({ first: 0, last: 10_000 })
  expect(await store.find('large')).toMatchObject({ first: 1, last: 100 })
})

test('no more is forgotten than makes room', async () => {
  const store = memoryStore({ maxBytes: 100_000 })
  const live = await record(store, 'live')
  for (let count = 0; count < 10; count++) live.append(kilobyte, 1)
  for (let number = 1; number <= 9; number++) {
    const ended = await record(store, `ended-${number}`)
    for (let count = 0; count < 10; count++) ended.append(kilobyte, 1)
    await ended.end(completed)
  }
  live.append(`${kilobyte}data: ${'x'.repeat(492)}\n\n`, 2)
  expect(await store.find('ended-1')).toBeUndefined()
  for (let number = 2; number <= 9; number++) {
    expect(await store.find(`ended-${number}`)).toMatchObject({ first: 1, last: 10 })
  }
  expect(await store.find('live')).toMatchObject({ first: 1, last: 12 })
})

test.each([
  [{ maxStreams: 0 }, 'maxStreams must be a whole number above 0, or Infinity; got 0'],
  [{ maxBytes: 1.5 }, 'maxBytes must be a whole number above 0, or Infinity; got 1.5'],
  [{ maxBytes: '1' as never }, 'maxBytes must be a whole number above 0, or Infinity; got "1"'],
  [{ maxByte: 1 } as MemoryStoreOptions, 'options.maxByte is not an option; did you mean maxBytes?'],
])('%j is refused', (options, message) => {
  expect(() => memoryStore(options)).toThrow(new TypeError(message))
})
