import { setTimeout as pause } from 'node:timers/promises'
import { startUpstream, type UpstreamExchange } from '../../../src/testing/index.js'
import { answerQuestions } from '../program.js'
import { withResolvers } from '../with-resolvers.js'
import { ending, errorEvent, half, type Plan, planOf } from './plan.js'

const seed = Number(process.env.SOAK_SEED)
/** The streams whose body has no end yet. */
const underWay = new Map<number, UpstreamExchange>()
const sockets = new Set<UpstreamExchange['socket']>()
/** For each stream: its client has all events. */
const read = new Map<number, () => void>()
let arrived = 0
/** All streams wait for it: then all of them are under way at once. */
let start = withResolvers()

const upstream = await startUpstream(async (exchange) => {
  upstream.exchanges.length = 0
  sockets.add(exchange.socket)
  const [, what, id] = /^POST \/(\w+)\/(\d+) /.exec(exchange.head) ?? []
  const number = Number(id)
  if (what === 'read') {
    read.get(number)?.()
    return exchange.answer('200 OK', '{}')
  }
  underWay.set(number, exchange)
  const isRead = new Promise<void>((resolve) => read.set(number, resolve))
  arrived++
  await start.promise
  const plan = planOf(seed, number)
  if (plan.fault !== 'resetsBeforeHead') await sendEvents(plan, exchange.open())
  const keepsConnection = await scripts[plan.fault](exchange, isRead)
  if (keepsConnection) underWay.delete(number)
})

async function sendEvents({ fault, events, pauseMs }: Plan, exchange: UpstreamExchange): Promise<void> {
  if (fault === 'slow') {
    for (const event of events) {
      await pause(pauseMs)
      exchange.data(event)
    }
  } else {
    // In one piece: no deadline can pass between them, however busy the machine is.
    exchange.chunk(events.map((event) => `data: ${JSON.stringify(event)}\n\n`).join(''))
  }
}

type Script = (exchange: UpstreamExchange, isRead: Promise<void>) => unknown

/** The ending after the events. */
const scripts: Record<Plan['fault'], Script> = {
  good: (exchange) => exchange.data(...ending).end(),
  slow: (exchange) => exchange.data(...ending).end(),
  errorEvent: (exchange) => exchange.data(errorEvent).end(),
  endsEarly: (exchange) => exchange.end(),
  hangsUp: (exchange) => exchange.fin(),
  halfEvent: (exchange) => exchange.chunk(half).fin(),
  resets: async (exchange, isRead) => {
    await Promise.race([isRead, exchange.closed])
    await exchange.reset()
  },
  resetsAtOnce: (exchange) => exchange.reset(),
  resetsBeforeHead: (exchange) => exchange.reset(),
  fallsSilent: () => {},
}

const streamsLeft = () =>
  [...underWay].filter(([, { socket }]) => !socket.destroyed).map(([number]) => number)

const questions = {
  port: () => upstream.port,
  async arrived(until: number) {
    while (arrived < until) await pause(5)
  },
  start() {
    start.resolve()
    start = withResolvers()
  },
  /** The streams that no client reads any more, and that the proxy has not let go. */
  async left() {
    for (let patience = 500; patience > 0 && streamsLeft().length > 0; patience--) await pause(20)
    return streamsLeft()
  },
  /** Closes the connections that are kept for more streams, and counts those that stay open all the same. */
  async close() {
    for (const socket of sockets) socket.end()
    for (let patience = 500; patience > 0 && upstream.openConnections > 0; patience--) await pause(20)
    return upstream.openConnections
  },
}
export type UpstreamQuestions = typeof questions
answerQuestions(questions)
