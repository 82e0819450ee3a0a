import { redisStore } from '../../../src/resume/redis/store.js'
import type { Recorder, StoredEnd } from '../../../src/resume/resume-store.js'
import { answerQuestions } from '../../support/program.js'
import { connectTo } from './clients.js'
import { event } from './reading.js'

/** A process that produces streams: killed, or stopped, by the tests. */
const { REDIS_PORTS = '', REDIS_CLIENT = '', LEASE_MS } = process.env
const connected = await connectTo(REDIS_CLIENT, REDIS_PORTS.split(',').map(Number))
const store = redisStore(connected.client, { flushMs: 25, leaseMs: Number(LEASE_MS) })

const recorders = new Map<string, Recorder>()
const heard: string[] = []
let appended = 0
let producing: ReturnType<typeof setInterval> | undefined

const questions = {
  async record(id: string) {
    const recorder = await store.record(
      id,
      {
        owner: undefined,
        dialect: 'openai-chat',
        framing: 'sse',
        requestId: id,
        model: undefined,
        limits: { maxBytes: 1024 * 1024, maxEvents: 10_000, ttlMs: 60_000 },
      },
      { stop: (why) => heard.push(`stop ${why}`), fenced: () => heard.push('fenced') },
    )
    recorders.set(id, recorder)
  },
  /** One event every few milliseconds, from now on. */
  async produce(id: string) {
    const recorder = recorders.get(id)
    producing = setInterval(() => recorder?.append(event(++appended), 1), 5)
  },
  async end({ id, how }: { id: string; how: StoredEnd }) {
    clearInterval(producing)
    await recorders.get(id)?.end(how)
  },
  state: (id: string) => ({ appended, heard, complete: recorders.get(id)?.complete }),
  /** Closes its client, as an app does that ends, and nothing else. */
  close() {
    connected.close()
    process.removeAllListeners('disconnect')
    setImmediate(() => process.disconnect())
  },
}

export type Producer = typeof questions

answerQuestions(questions)
