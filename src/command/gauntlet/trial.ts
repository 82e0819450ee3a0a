import { setTimeout as later } from 'node:timers/promises'
import {
  type FaultName,
  faultsOf,
  type RawClient,
  type UpstreamExchange,
  type UpstreamScript,
} from '../../testing/index.js'
import { within } from '../../timeouts/clock.js'
import type { ProxyDeadlines } from './deadlines.js'
import type { Play, Stage } from './stage.js'
import { type Finding, type Reading, read, type Verdict } from './verdict.js'

/** One failure mode as a black box shows it. */
export interface Trial {
  /** Its number in docs/FAILURE-MODES.md. */
  readonly mode: string
  /** The fault, as `unhang upstream --fault` has it, or what else is done. */
  readonly name: string
  /** The fault, in words. */
  readonly given: string
  /** The verdicts that are right. */
  readonly must: readonly Verdict[]
  readonly requests: number
  /** The longest that the client waits; `Infinity`: the proxy has no such deadline, and the trial is left out. */
  waitMs(deadlines: ProxyDeadlines): number
  /** Whether a good proxy needs a deadline, or a long time, to pass. */
  readonly isSlow?: true
  /** Whether nothing else may go on meanwhile. */
  readonly isAlone?: true
  run(stage: Stage, waitMs: number, deadlines: ProxyDeadlines): Promise<Finding>
}

/** How long after its last bytes the upstream resets: sooner, the system may drop bytes that have not been read. */
const beforeResetMs = 150

/** A fault of the kit that lets the proxy read all bytes before a reset. */
export function scriptOf(stage: Stage, name: FaultName): UpstreamScript {
  const script = faultsOf(stage.shape)[name]
  return (exchange) => script(Object.create(exchange, { reset: { value: () => slowReset(exchange) } }))
}

async function slowReset(exchange: UpstreamExchange): Promise<void> {
  await later(beforeResetMs)
  await exchange.reset()
}

/** Asks, waits for the end, and reads the response. */
export async function askOnce(
  stage: Stage,
  play: Play,
  waitMs: number,
  { isWhole = false, client }: { isWhole?: boolean; client?: RawClient } = {},
): Promise<Reading> {
  const asking = await stage.ask(play, client ? { client } : {})
  const reading = await readEnd(stage, asking, waitMs, isWhole)
  play.isOver = reading.finding.verdict !== 'hang'
  return reading
}

/** Waits for the end of a response, and reads it. */
export async function readEnd(
  stage: Stage,
  client: RawClient,
  waitMs: number,
  isWhole: boolean,
): Promise<Reading> {
  // A response that is not HTTP has ended for its client.
  const isOver = await within(
    client.finished().catch(() => {}),
    waitMs,
  )
  return read(client, stage.shape, { isOver, isWhole, quote: stage.endpoint.quote })
}

/** The rest of a trial whose upstream has one of the faults, and whose client waits for the end. */
export interface FaultTrial extends Omit<Trial, 'requests' | 'run' | 'name'> {
  readonly fault: FaultName
  /** Whether the upstream sends a whole answer. */
  readonly isWhole?: true
  /** A mistake although the verdict is right. */
  readonly problem?: ((reading: Reading) => string | undefined) | undefined
}

/** A trial whose upstream has one of the faults, and whose client waits for the end. */
export function faultTrial({ fault, isWhole, problem, ...rest }: FaultTrial): Trial {
  return {
    ...rest,
    name: fault,
    requests: 1,
    async run(stage, waitMs) {
      await stage.dropIdle()
      const play = stage.play(scriptOf(stage, fault))
      const reading = await askOnce(stage, play, waitMs, { isWhole: isWhole === true })
      const { finding } = reading
      return { ...finding, problem: finding.problem ?? problem?.(reading) }
    },
  }
}

/** Tokens that came before the failure must arrive, unless the failure is reported as a status. */
export function lostText({ status, text, finding }: Reading): string | undefined {
  if (finding.verdict !== 'reported' || status >= 400 || text.startsWith('Hello')) return undefined
  return `of the text "Hello", which the upstream had sent, ${text === '' ? 'nothing' : `"${text.slice(0, 20)}"`} arrived`
}
