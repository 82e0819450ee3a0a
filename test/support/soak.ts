import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { handleStream, type StreamEnd, wrapApp } from '../../src/index.js'
import { liveStreams } from '../../src/server/live-streams.js'
import {
  assertCleanEnding,
  type FaultName,
  faults,
  RawClient,
  startUpstream,
  type UpstreamExchange,
} from '../../src/testing/index.js'
import { answerNaively } from './mounts.js'
import { listen, upstreamClients } from './proxy.js'
import { randomFrom } from './random.js'

/** How the client of one stream behaves. */
type Behaviour = 'reads' | 'leaves' | 'reads slowly' | 'never reads'

/** Everything about one stream, drawn from the seed. */
interface Plan {
  id: string
  fault: FaultName
  behaviour: Behaviour
  path: 'relay' | 'translate' | 'read' | 'guard'
  client: keyof typeof upstreamClients
  afterMs: number
}

export interface SoakReport {
  streams: number
  seconds: number
  outcomes: Record<string, number>
  /** The mistakes, one line each. */
  wrong: string[]
  /** Prompt upstreams that were too slow all the same, because the machine was busy. */
  late: number
  heapGrowthBytes: number
  /** Streams, timers, and connections beyond what the pools may keep, that were not there before. */
  left: Record<string, number>
}

const timeouts = { firstByteMs: 150, inactivityMs: 150, totalMs: 400, clientStallMs: 200, connectMs: 100 }
const behaviours: Behaviour[] = ['reads', 'reads', 'reads', 'leaves', 'reads slowly', 'never reads']
const paths: Plan['path'][] = ['relay', 'translate', 'read', 'guard']
const faultNames = Object.keys(faults) as FaultName[]
const clientNames = Object.keys(upstreamClients) as Plan['client'][]
/** Faults that show at once: no deadline has anything to do with them. */
const isPrompt: FaultName[] = [
  'good',
  'splitUtf8',
  'finMidStream',
  'truncated',
  'halfEvent',
  'webPage',
  'errorEvent',
]
// A guarded handler forwards half an event before its end is known, and says 200 without looking.
const unlikeOthersInGuard: FaultName[] = [
  'flood',
  'halfEvent',
  'endlessLine',
  'jsonError',
  'rateLimited',
  'serverError',
  'slowError',
  'webPage',
]
/** Nothing is lost in these. */
const isWhole: FaultName[] = ['good', 'splitUtf8', 'keepsOpen']
/** The end may be lost with the connection, and only openUpstream retries. */
const isEither: FaultName[] = ['resetAfterEnd', 'staleConnection']

/** Four clients keep a connection each for as many streams as run at a time. */
const mostPooled = 4 * 40

/** Runs mixed streams against random faults and clients, and counts lost events and leaks. */
export async function soak(streams: number, seed: number, concurrency = 40): Promise<SoakReport> {
  const random = randomFrom(seed)
  const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)] as T
  const wrong: string[] = []
  let late = 0
  const outcomes: Record<string, number> = {}
  /** How often each stream was recorded; no more than a byte a stream, so that it is no growth itself. */
  const recorded = new Uint8Array(streams)
  const plans = new Map<string, Plan>()
  const startedAt = performance.now()
  const timersBefore = activeTimers()

  await using upstream = await startUpstream((exchange: UpstreamExchange) => {
    // The upstream's memory would look like a leak.
    upstream.exchanges.length = 0
    const [, fault = 'good'] = /^\S+ \/(\w+)/.exec(exchange.head) ?? []
    // Behind the guard an upstream that stays is its handler's own, which reads on.
    if (fault === 'keepsOpen' && exchange.head.includes('?guard '))
      setTimeout(() => exchange.socket.end(), 1_000)
    return faults[fault as FaultName](exchange)
  })
  const onEnd = ({ outcome, requestId }: StreamEnd) => {
    outcomes[outcome] = (outcomes[outcome] ?? 0) + 1
    recorded[numberOf(requestId)] = (recorded[numberOf(requestId)] ?? 0) + 1
  }
  const planOf = (request: { headers: Record<string, unknown> }) =>
    plans.get(String(request.headers['x-request-id'])) as Plan
  const guard = wrapApp(
    (request, response) =>
      answerNaively({ stream: true }, `${upstream.url}/${planOf(request).fault}?guard`, request, response),
    { timeouts, onEnd, writer: { heartbeatMs: 50 } },
  )
  await using server = await listen((request, response) => {
    const plan = planOf(request)
    if (plan.path === 'guard') return guard(request, response)
    const url = `${upstream.url}/${plan.fault}`
    const options = { timeouts, onEnd, writer: { heartbeatMs: 50 } }
    void handleStream(
      response,
      async (stream) => {
        // A kept connection may have been reset by the stream before: that is for openUpstream to see.
        const call = upstreamClients[plan.client]
        const source = stream.openUpstream(({ signal }) =>
          call(url, { ...stream, deadlines: stream.deadlines, signal }),
        )
        if (plan.path === 'relay') await stream.relay(source)
        else if (plan.path === 'translate') await stream.relay(source, (event) => event)
        else for await (const { data } of stream.read(source)) await stream.writer.write({ data })
      },
      options,
    )
  })

  async function run(plan: Plan): Promise<void> {
    plans.set(plan.id, plan)
    using client = new RawClient(server.port)
    client.send({ headers: { 'X-Request-Id': plan.id }, body: { stream: true } })
    if (plan.behaviour === 'reads') {
      await client.finished()
      check(plan, client)
    } else if (plan.behaviour === 'never reads') client.socket.pause()
    else if (plan.behaviour === 'leaves') {
      await new Promise((resolve) => setTimeout(resolve, plan.afterMs))
      client.reset()
    } else {
      const slowly = setInterval(() => {
        client.socket.pause()
        setTimeout(() => client.socket.resume(), 5)
      }, 10)
      await client.finished()
      clearInterval(slowly)
      check(plan, client)
    }
    while (recorded[numberOf(plan.id)] === 0) await new Promise((resolve) => setTimeout(resolve, 5))
    plans.delete(plan.id)
  }

  function check(plan: Plan, client: RawClient): void {
    const { fault, path } = plan
    if (path === 'guard' && unlikeOthersInGuard.includes(fault)) return
    try {
      const error = assertCleanEnding(client)
      // This test is not about a machine that is too busy for deadlines this short; it is counted.
      if (error?.code === 'upstream_first_byte_timeout' || error?.code === 'request_timeout_total') {
        if (isPrompt.includes(fault)) late++
        return
      }
      if (!isEither.includes(fault) && isWhole.includes(fault) !== (error === undefined))
        throw new Error(`told ${JSON.stringify(error)}`)
      const text = client.data.map((data) => (data.startsWith('{') ? said(data) : '')).join('')
      const begun = [
        'good',
        'resetMidStream',
        'finMidStream',
        'truncated',
        'halfEvent',
        'stalled',
        'badChunkSize',
      ]
      // An abortive close may destroy bytes that the system has not handed over yet; FM-15 waits for that.
      const maybeLost = fault === 'resetMidStream'
      if (begun.includes(fault) && text !== 'Hello' && !maybeLost)
        throw new Error(`said ${JSON.stringify(text)}, status ${client.status}, ${error?.code}`)
    } catch (error) {
      wrong.push(`${JSON.stringify(plan)}: ${(error as Error).message}`)
    }
  }

  let next = 0
  /** Runs streams up to this number, so many at a time. */
  const runUntil = (until: number) =>
    Promise.all(
      Array.from({ length: concurrency }, async () => {
        while (next < until) {
          const id = `soak-${next++}`
          const [fault, behaviour, path] = [pick(faultNames), pick(behaviours), pick(paths)]
          await run({
            id,
            fault,
            behaviour,
            path,
            client: pick(clientNames),
            afterMs: Math.floor(random() * 300),
          })
        }
      }),
    )
  await runUntil(Math.ceil(streams / 3))
  const before = await settledHeap()
  await runUntil(streams)
  const after = await settledHeap()

  recorded.forEach((times, number) => {
    if (times !== 1) wrong.push(`stream ${number} was recorded ${times} times`)
  })
  const openUpstream = upstream.openConnections
  const left = {
    streams: liveStreams().size,
    timers: Math.max(0, activeTimers() - timersBefore),
    overflow: Math.max(0, openUpstream - mostPooled),
  }
  return {
    streams,
    seconds: (performance.now() - startedAt) / 1_000,
    outcomes,
    wrong,
    late,
    heapGrowthBytes: after - before,
    left,
  }
}

function numberOf(id: string): number {
  return Number(id.slice('soak-'.length))
}

function said(data: string): string {
  return JSON.parse(data).choices?.[0]?.delta?.content ?? ''
}

function activeTimers(): number {
  return process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length
}

setFlagsFromString('--expose_gc')
const collect = runInNewContext('gc') as () => void

/** The heap when nothing is under way: objects that streams have left behind show as growth. */
async function settledHeap(): Promise<number> {
  while (liveStreams().size > 0) await new Promise((resolve) => setTimeout(resolve, 20))
  for (let pass = 0; pass < 4; pass++) {
    await new Promise((resolve) => setTimeout(resolve, 50))
    collect()
  }
  return process.memoryUsage().heapUsed
}
