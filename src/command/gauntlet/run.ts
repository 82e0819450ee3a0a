import { publicUrl } from '../../doctor/quote.js'
import type { AnswerShape } from '../../testing/index.js'
import { within } from '../../timeouts/clock.js'
import { halfRequest } from './client-trials.js'
import type { ProxyDeadlines } from './deadlines.js'
import { ProxyGone, Stage } from './stage.js'
import type { Trial } from './trial.js'
import { goodAnswer, trials } from './trials.js'
import type { Finding, Verdict } from './verdict.js'

/** The result of one trial. */
export interface TrialResult extends Finding {
  /** The number in docs/FAILURE-MODES.md. */
  readonly mode: string
  readonly name: string
  readonly given: string
  readonly must: readonly Verdict[]
  readonly passed: boolean
}

/** A trial that was not made. */
interface LeftOut {
  readonly mode: string
  readonly name: string
  readonly why: string
}

export interface GauntletOptions {
  readonly url: string
  readonly shape: AnswerShape
  readonly model: string
  readonly key: string | undefined
  readonly upstreamPort: number
  readonly deadlines: ProxyDeadlines
  /** Only what needs no deadline to pass. */
  readonly isQuick: boolean
  /** Numbers of failure modes; empty: all. */
  readonly only: readonly string[]
  readonly skip: readonly string[]
  announce?(text: string): void
  onResult?(result: TrialResult): void
}

export interface GauntletReport {
  /** Without user and query, where keys stand. */
  readonly url: string
  readonly api: AnswerShape
  readonly requests: number
  readonly results: readonly TrialResult[]
  readonly leftOut: readonly LeftOut[]
}

/** How long a trial has before the next one begins: a process that a fault ends, ends by then. */
const headStartMs = 1_000
/** A quick run waits no longer than this for anything: a proxy may retry first, and honour Retry-After: 7. */
const quickMs = 20_000

/**
 * Drives a proxy through the failure modes: the client and the upstream are ours.
 *
 * @throws Error if the upstream's port is taken, or the proxy is not there, or does not call our upstream
 */
export async function runGauntlet(options: GauntletOptions): Promise<GauntletReport> {
  const { leftOut, chosen } = choose(options)
  const withHalf = isWanted(halfRequest.mode, options)
  const all = [goodAnswer, ...chosen, ...(withHalf ? [halfRequest] : [])]
  const maxRequests = all.reduce((sum, { requests }) => sum + requests, 0)
  await using stage = new Stage({ ...options, maxRequests })
  await stage.open()
  const url = publicUrl(stage.endpoint.url)
  options.announce?.(announcement(url, maxRequests, chosen, options))
  const run = new Run(stage, options)
  await run.begin(goodAnswer)
  if (!run.results[0]?.passed) run.stop('a good answer does not come through')
  const endHalf = withHalf ? await halfRequest.begin(stage) : undefined
  for (const trial of chosen) await run.begin(trial)
  await run.settled()
  if (endHalf) run.add(halfRequest, await endHalf())
  return {
    url,
    api: options.shape,
    requests: stage.sent,
    results: run.results,
    leftOut: [...leftOut, ...run.leftOut],
  }
}

class Run {
  readonly results: TrialResult[] = []
  readonly leftOut: LeftOut[] = []
  readonly #stage: Stage
  readonly #options: GauntletOptions
  readonly #running = new Set<Promise<void>>()
  #last = ''
  #stopped: string | undefined
  #failure: Error | undefined

  constructor(stage: Stage, options: GauntletOptions) {
    this.#stage = stage
    this.#options = options
  }

  /** Begins a trial, and gives it its head start. */
  async begin(trial: Trial): Promise<void> {
    if (trial.isAlone) await this.settled()
    const running = this.#make(trial).finally(() => this.#running.delete(running))
    this.#running.add(running)
    if (trial.isAlone) await this.settled()
    else if (!trial.isSlow) await within(running, headStartMs)
    this.#last = `${trial.mode} ${trial.name}`
  }

  async settled(): Promise<void> {
    await Promise.all(this.#running)
    if (this.#failure) throw this.#failure
  }

  /** Makes no more trials. */
  stop(why: string): void {
    this.#stopped = why
  }

  add(trial: Omit<Trial, 'run' | 'waitMs'>, finding: Finding): void {
    const { mode, name, given, must } = trial
    const passed = must.includes(finding.verdict) && finding.problem === undefined
    const result = { mode, name, given, must, passed, ...finding }
    this.results.push(result)
    this.#options.onResult?.(result)
  }

  async #make(trial: Trial): Promise<void> {
    const { mode, name } = trial
    const since = this.#last
    if (this.#stopped !== undefined) return void this.leftOut.push({ mode, name, why: this.#stopped })
    try {
      this.add(trial, await trial.run(this.#stage, waitMs(trial, this.#options), this.#options.deadlines))
    } catch (error) {
      if (!(error instanceof ProxyGone) || since === '') {
        this.#failure ??= error as Error
        return
      }
      this.#stopped ??= `the proxy is gone since ${since}`
      this.leftOut.push({ mode, name, why: this.#stopped })
    }
  }
}

function waitMs(trial: Trial, { deadlines, isQuick }: GauntletOptions): number {
  return isQuick ? Math.min(quickMs, trial.waitMs(deadlines)) : trial.waitMs(deadlines)
}

function isWanted(mode: string, { only, skip }: GauntletOptions): boolean {
  return (only.length === 0 || only.includes(mode)) && !skip.includes(mode)
}

function choose(options: GauntletOptions): { chosen: Trial[]; leftOut: LeftOut[] } {
  const chosen: Trial[] = []
  const leftOut: LeftOut[] = []
  for (const trial of trials) {
    if (trial === goodAnswer) continue
    const { mode, name } = trial
    const leave = (why: string) => leftOut.push({ mode, name, why })
    if (!isWanted(mode, options)) continue
    if (options.isQuick && trial.isSlow) leave('takes a deadline')
    else if (!Number.isFinite(trial.waitMs(options.deadlines))) leave('the proxy has no such deadline')
    else chosen.push(trial)
  }
  return { chosen, leftOut }
}

function announcement(
  url: string,
  requests: number,
  chosen: readonly Trial[],
  options: GauntletOptions,
): string {
  const maxMs = Math.max(...[goodAnswer, ...chosen].map((trial) => waitMs(trial, options)))
  return (
    `Sends at most ${requests} requests to ${url}, and plays its upstream on port ${options.upstreamPort}. ` +
    `A proxy that hangs keeps it for ${Math.ceil(maxMs / 1_000)} s.\n`
  )
}
