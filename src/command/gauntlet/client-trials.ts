import { setTimeout as later } from 'node:timers/promises'
import {
  type AnswerShape,
  answers,
  faultsOf,
  type RawClient,
  type UpstreamExchange,
} from '../../testing/index.js'
import { nextTurn, within } from '../../timeouts/clock.js'
import { waitFor } from './deadlines.js'
import type { Play, Stage } from './stage.js'
import { readEnd, type Trial } from './trial.js'
import type { Finding } from './verdict.js'

/** How soon an upstream must be let go once its client has left. */
const releaseMs = 5_000
/** More than the buffers of two systems and a proxy hold. */
const maxBufferedBytes = 64 * 1024 * 1024
/** A proxy that takes nothing for so long has paused its upstream. */
const pausedMs = 1_000

/** The upstream's view of a client, once the upstream has been called. */
async function calledBy(play: Play, client: RawClient): Promise<UpstreamExchange | undefined> {
  const isCalled = async () => {
    while (play.exchanges.length === 0 && client.ending === undefined) await later(10)
  }
  await within(isCalled(), releaseMs)
  return play.exchanges[0]
}

const notCalled: Finding = { verdict: 'cut', evidence: 'the upstream was not called' }

/** The client resets its connection. */
async function leave(client: RawClient, exchange: UpstreamExchange): Promise<Finding> {
  client.reset()
  const startedAt = performance.now()
  if (await within(exchange.closed, releaseMs))
    return {
      verdict: 'fine',
      evidence: `the upstream was let go after ${Math.round(performance.now() - startedAt)} ms`,
    }
  return { verdict: 'leak', evidence: `the upstream is still open ${releaseMs / 1_000} s later` }
}

/** More than any proxy may keep for a client that does not read. A proxy that keeps more gets the rest slowly. */
const maxPouredBytes = 128 * 1024 * 1024

/** Sends as fast as the proxy takes it, until it is enough. */
async function pour(exchange: UpstreamExchange, shape: AnswerShape, isEnough: () => boolean): Promise<void> {
  const { headers, begun, piece } = answers[shape]
  const text = piece('x'.repeat(64 * 1024))
  exchange.open(headers).chunk(begun).chunk(piece('lo'))
  while (!isEnough() && !exchange.socket.destroyed) {
    exchange.chunk(text)
    if (exchange.socket.writableNeedDrain) await exchange.drained()
    else if (exchange.socket.bytesWritten > maxPouredBytes) await later(50)
    else await nextTurn()
  }
}

/** The client reads nothing, until the proxy takes no more from the upstream, or has taken too much. */
async function fill({ socket }: UpstreamExchange): Promise<'paused' | 'full' | 'closed'> {
  let before = -1
  let stillMs = 0
  while (stillMs < pausedMs && !socket.destroyed) {
    const taken = socket.bytesWritten - socket.writableLength
    if (taken > maxBufferedBytes) return 'full'
    stillMs = taken === before ? stillMs + 100 : 0
    before = taken
    await later(100)
  }
  return socket.destroyed ? 'closed' : 'paused'
}

const tookAll: Finding = {
  verdict: 'leak',
  evidence: `the proxy took more than ${maxBufferedBytes / 1024 / 1024} MiB for a client that reads nothing`,
}

/** The client leaves once its upstream was called, and it has seen enough. */
async function askAndLeave(
  stage: Stage,
  fault: 'silent' | 'drip',
  seen?: (client: RawClient) => Promise<void>,
): Promise<Finding> {
  const play = stage.play(faultsOf(stage.shape)[fault])
  const client = await stage.ask(play)
  const exchange = await calledBy(play, client)
  await seen?.(client)
  return exchange ? leave(client, exchange) : notCalled
}

async function askWithoutReading(stage: Stage): Promise<{ client: RawClient; exchange?: UpstreamExchange }> {
  const play = stage.play((exchange) => pour(exchange, stage.shape, () => false))
  const client = await stage.ask(play)
  client.socket.pause()
  const exchange = await calledBy(play, client)
  return exchange ? { client, exchange } : { client }
}

/** The ways of a client, and the fate of its upstream then. */
export const clientTrials: readonly Trial[] = [
  {
    mode: 'FM-22',
    name: 'leaves before the headers',
    given: 'The client leaves before the response headers.',
    must: ['fine'],
    requests: 1,
    waitMs: () => releaseMs,
    run: (stage) => askAndLeave(stage, 'silent'),
  },
  {
    mode: 'FM-23',
    name: 'leaves in mid-stream',
    given: 'The client leaves in mid-stream.',
    must: ['fine'],
    requests: 1,
    waitMs: () => releaseMs,
    run: (stage) =>
      askAndLeave(stage, 'drip', async (client) => {
        await within(
          client.until(() => client.status > 0).catch(() => {}),
          releaseMs,
        )
      }),
  },
  {
    mode: 'FM-25',
    name: 'leaves without reading',
    given: 'The client leaves while the proxy waits for it to read.',
    must: ['fine'],
    requests: 1,
    waitMs: () => releaseMs,
    async run(stage) {
      const { client, exchange } = await askWithoutReading(stage)
      if (!exchange) return notCalled
      // A proxy that takes all of it does not wait: that is FM-27.
      await fill(exchange)
      return leave(client, exchange)
    },
  },
  {
    mode: 'FM-27',
    name: 'stops reading',
    given: 'The client stops reading.',
    must: ['fine'],
    requests: 1,
    isSlow: true,
    // A proxy may look for progress once in that time, and find some at the first look.
    waitMs: ({ clientStallMs }) => waitFor(2 * clientStallMs),
    async run(stage, waitMs) {
      const { client, exchange } = await askWithoutReading(stage)
      if (!exchange) return notCalled
      const filled = await fill(exchange)
      if (filled === 'full') {
        client.reset()
        return tookAll
      }
      const isClosed = await within(exchange.closed, waitMs)
      client.reset()
      if (isClosed)
        return { verdict: 'fine', evidence: 'the upstream was paused, then both connections were closed' }
      return { verdict: 'hang', evidence: 'the upstream was paused, and both connections stay open' }
    },
  },
  {
    mode: 'FM-28',
    name: 'reads slowly',
    given: 'The client reads slowly, for longer than inactivityMs.',
    must: ['fine'],
    requests: 1,
    isSlow: true,
    waitMs: ({ inactivityMs }) => waitFor(inactivityMs),
    async run(stage, waitMs, { clientStallMs }) {
      let isEnough = false
      const play = stage.play(async (exchange) => {
        await pour(exchange, stage.shape, () => isEnough)
        exchange.chunk(answers[stage.shape].end).end()
      })
      const client = await stage.ask(play)
      const isPatient = clientStallMs > waitMs * patience
      const undo = isPatient ? rest(client) : readSlowly(client)
      const exchange = await calledBy(play, client)
      // The rest begins when nothing between the two takes any more.
      if (exchange && isPatient) await fill(exchange)
      await within(client.closed(), isPatient ? waitMs - pausedMs : waitMs)
      isEnough = true
      undo()
      const { finding } = await readEnd(stage, client, waitMs, true)
      return finding
    },
  },
]

/** How much longer a proxy must be patient with a client than with its upstream, for one long rest to be allowed. */
const patience = 1.1
const shortRestMs = 400

/** One rest, which is longer than `inactivityMs`. */
function rest(client: RawClient): () => void {
  client.socket.pause()
  return () => client.socket.resume()
}

/** Many short ones: a proxy may cut a client that reads nothing. */
function readSlowly(client: RawClient): () => void {
  let timer: NodeJS.Timeout | undefined
  const pause = () => {
    client.socket.pause()
    timer = setTimeout(() => client.socket.resume(), shortRestMs)
  }
  client.socket.on('data', pause)
  return () => {
    clearTimeout(timer)
    client.socket.off('data', pause).resume()
  }
}

/** How long a proxy may take to call its upstream for a client that has left. */
const calledByMs = 1_000

/** The client leaves in the middle of its request: whether the upstream was called shows at the end of all trials. */
export const halfRequest = {
  mode: 'FM-26',
  name: 'leaves in its request',
  given: 'The client leaves while it is still sending its request.',
  must: ['fine'],
  requests: 1,
  waitMs: () => 0,
  async begin(stage: Stage): Promise<() => Promise<Finding>> {
    const play = stage.play(faultsOf(stage.shape).good)
    // All but the last character: the part that has come names the play.
    const client = await stage.ask(play, { cutAt: -1 })
    await later(100)
    client.reset()
    const resetAt = performance.now()
    return async () => {
      // Where no other trial took that long.
      await later(Math.max(0, resetAt + calledByMs - performance.now()))
      return play.exchanges.length === 0
        ? { verdict: 'fine', evidence: 'the upstream was not called' }
        : { verdict: 'leak', evidence: 'the upstream was called for half a request' }
    }
  },
} as const
