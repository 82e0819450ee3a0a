import { createHook } from 'node:async_hooks'
import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import express from 'express'
import { guardStreams } from '../../../src/adapters/express.js'
import { getSignal } from '../../../src/index.js'
import { liveStreams } from '../../../src/server/live-streams.js'
import { answerQuestions } from '../program.js'
import { agent, handlers } from './handlers.js'
import { numberOf, planOf } from './plan.js'

/** Also those that keep no process alive, which `getActiveResourcesInfo()` leaves out. */
const timers = new Set<number>()
createHook({
  init: (id, type) => type === 'Timeout' && timers.add(id),
  destroy: (id) => timers.delete(id),
}).enable()

const warnings: string[] = []
process.on('warning', ({ name, message }) => warnings.push(`${name}: ${message}`))

const seed = Number(process.env.SOAK_SEED)
/** Whether the guard lets the upstreams go. The handlers then have no signal. */
const cancels = process.env.SOAK_ADOPT === 'cancel'
const planFor = ({ headers }: IncomingMessage) => planOf(seed, numberOf(headers['x-request-id']))
let upstreamUrl = ''
/** The state of one stream: it may be collected when the stream is over. */
const seen: WeakRef<object>[] = []
/** How each stream ended, by its number: more than once would be wrong. */
const outcomes: string[][] = []

const app = express()
app.use(
  guardStreams({
    // A busy machine may be slow, but for these streams silence is all that is left.
    timeouts: (request) => (planFor(request).fault === 'fallsSilent' ? { inactivityMs: 250 } : 'streaming'),
    ...(cancels && { adopt: { onDisconnect: 'cancel', release: true } }),
    writer: { heartbeatMs: 100, heartbeat: 'comment' },
    onEnd: ({ requestId, outcome }) => {
      const number = numberOf(requestId)
      outcomes[number] = [...(outcomes[number] ?? []), outcome]
    },
  }),
)
app.post('/v1/chat/completions', express.json(), (request, response) => {
  const { number, handler } = planFor(request)
  const signal = getSignal(request)
  for (const object of [request, response, signal]) seen.push(new WeakRef(object))
  return handlers[handler](`${upstreamUrl}/chat/${number}`, cancels ? undefined : signal, response)
})
const server = createServer(app).listen(0, '127.0.0.1')
await once(server, 'listening')
const timersBefore = timers.size

function listenersOf(emitter: NodeJS.EventEmitter): Record<string, number> {
  return Object.fromEntries(emitter.eventNames().map((name) => [String(name), emitter.listenerCount(name)]))
}

setFlagsFromString('--expose_gc')
const collect = runInNewContext('gc') as () => void

const connections = () =>
  new Promise<number>((resolve) => server.getConnections((_error, count) => resolve(count)))

const questions = {
  port(url: string) {
    upstreamUrl = url
    return (server.address() as AddressInfo).port
  },
  live: () => liveStreams().size,
  /** How the streams up to this number ended, when all of them have. */
  async ended(until: number) {
    for (let patience = 500; patience > 0 && liveStreams().size > 0; patience--) await pause(20)
    return {
      outcomes: Array.from({ length: until }, (_, number) => outcomes[number] ?? []),
      listeners: listenersOf(process),
    }
  },
  /** The most listeners of one kind that a kept connection to the upstream has. */
  keptListeners() {
    const kept = Object.values(agent.freeSockets).flatMap((sockets) => sockets ?? [])
    return {
      connections: kept.length,
      mostListeners: Math.max(...kept.flatMap((socket) => Object.values(listenersOf(socket)))),
    }
  },
  /** The objects that are left when the last connection is gone. */
  async left() {
    for (let patience = 500; patience > 0 && timers.size > timersBefore; patience--) await pause(20)
    for (let pass = 0; pass < 4; pass++) {
      await pause(50)
      collect()
    }
    // The timer of the pause itself is gone a moment later.
    await new Promise(setImmediate)
    return {
      streams: liveStreams().size,
      clientSockets: await connections(),
      timers: timers.size - timersBefore,
      objects: seen.filter((reference) => reference.deref()).length,
      warnings,
    }
  },
}
export type ProxyQuestions = typeof questions
answerQuestions(questions)
