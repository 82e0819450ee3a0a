import { shown } from '../errors/bad-input.js'
import { StreamError } from '../errors/stream-error.js'
import { type Guarded, guards } from '../registry.js'
import { isDraining } from '../server/live-streams.js'
import type { GuardedStream } from '../stream/guarded-stream.js'
import { withDefaults } from '../stream/inherited-settings.js'
import type { StreamSettings } from '../stream/settings.js'
import { HandlerDeadlines, type StreamDeadlines } from '../timeouts/stream-deadlines.js'
import type { WebGuardSettings } from './guard-options.js'
import { isGuardable, isResponse, startGuard } from './guard-response.js'
import { guardsStepAside, serverGuardOf, serverOf } from './node-bindings.js'
import { WebStream } from './stream.js'
import { WebSubject } from './subject.js'

/** One request of a fetch handler. */
export interface HandlerCall {
  readonly request: Request
  /** The second argument of the handler, from its server. */
  readonly bindings: unknown
  /** Makes the response. An error thrown here is reported where a stream was asked for. */
  handle(): Response | PromiseLike<Response>
}

/** One that is guarded, and what its framework knows of it. */
export interface GuardedCall extends HandlerCall {
  readonly settings: StreamSettings
  readonly when: WebGuardSettings<never>['when']
  readonly detect: WebGuardSettings<never>['detect']
  /** The parsed body, as far as it has been parsed. */
  parsedBody?(): unknown
  /** Whether the handler has thrown, and the framework or the app has responded to that. */
  hasFailed?(): boolean
  /** The error of the handler, if it is only the framework that has responded to it. */
  failure?(): unknown
}

/** Guards a request from its start to the end of its response: an outer guard does it for all that stand inside it. */
export async function guardRequest(call: GuardedCall): Promise<Response> {
  const { request, bindings, handle } = call
  if (guards().has(request)) return await handle()
  const outer = serverGuardOf(bindings)
  const settings = withDefaults(call.settings, outer?.options)
  const guard = new RequestGuard({ ...call, settings }, outer)
  guards().set(request, guard)
  return await guard.respondBy(handle)
}

/** Leaves a request alone, and so do the guards around this one. */
export async function skipRequest({ request, bindings, handle }: HandlerCall): Promise<Response> {
  guardsStepAside(request, bindings)
  return await handle()
}

/** The guard in front of a fetch handler; its request finds it in the registry. */
class RequestGuard implements Guarded, GuardedStream {
  #stream: WebStream
  readonly #call: GuardedCall
  readonly #isWanted: boolean
  /** The one around the whole server: it has nothing left to do once there will be a stream. */
  readonly #outer: Guarded | undefined
  /** The guards leave the request alone. */
  #isSkipped = false
  /** Another stream of unhang has begun for the request. */
  #isReplaced = false

  constructor(call: GuardedCall, outer: Guarded | undefined) {
    const { request, bindings, settings, when, detect } = call
    const subject = new WebSubject({ request }, serverOf(bindings))
    this.#call = call
    this.#outer = outer
    this.#isWanted = when === 'requested' && subject.wants(detect)
    if (this.#isWanted) outer?.stepAside()
    this.#stream = new WebStream(subject, settings, { isExpected: this.#isWanted })
  }

  /** Whether a failure of the handler is reported to its client: any other is its server's own affair. */
  get #mayReport(): boolean {
    return this.#isWanted && this.#call.settings.reportsErrors
  }

  /** Waits for the handler, but no longer than a deadline lets it. */
  async respondBy(handle: GuardedCall['handle']): Promise<Response> {
    const { output, exchange, clock, upstreams } = this.#stream
    if (this.#isWanted && isDraining(serverOf(this.#call.bindings))) clock.settle(new StreamError('shutdown'))
    else if (this.#isWanted) exchange.enlist()
    if (output.sent) return output.sent
    const responding = (async () => await handle())()
    // One that comes when no caller waits for it any more is let go at once. That of an error has no upstream.
    const isLate = (response: Response) =>
      output.sent !== undefined && response !== this.#stream.given && !this.#call.hasFailed?.()
    responding.then((response) => isLate(response) && upstreams.adopt(response), ignore)
    const ended = output.response.then(() => undefined)
    try {
      const response = await Promise.race([responding, ended])
      // A handler may return nothing.
      if (!output.sent) return await this.#guard(response as Response)
    } catch (error) {
      if (this.#isSkipped) throw error
      this.#followReplaced()
      // A page or a text is not an answer to a client that asked for a stream; to any other the framework's is.
      if (!this.#stream.exchange.isOpen) return await this.#stream.output.response
      if (!this.#mayReport) {
        this.#pass()
        throw error
      }
      this.#stream.exchange.fail(error)
    }
    return await this.#stream.output.response
  }

  /** The handler has not returned the response of the stream in its place, or has failed since: it goes on as before. */
  #followReplaced(): void {
    if (!this.#isReplaced) return
    this.#isReplaced = false
    const { request, settings } = this.#call
    const { requestId } = this.#stream.subject
    const subject = new WebSubject({ request, requestId }, serverOf(this.#call.bindings))
    this.#stream = new WebStream(subject, settings, { isExpected: this.#isWanted })
  }

  async #guard(response: Response): Promise<Response> {
    if (this.#isSkipped) return response
    this.#followReplaced()
    const { subject, exchange, output } = this.#stream
    if (output.sent) return output.sent
    const body = await this.#call.parsedBody?.()
    subject.parsed(body)
    if (output.sent) return output.sent
    if (this.#mayReport) {
      const failure = this.#call.failure?.()
      if (failure !== undefined) throw failure
      if (!isResponse(response))
        throw new TypeError(`the handler must return a Response, got ${shown(response)}`)
    }
    if (isResponse(response) && isGuardable(response, subject.method)) {
      if (!this.#isWanted) this.#outer?.stepAside()
      this.#stream.expect()
      const guarded = startGuard(response, this.#stream)
      await this.#stream.begun
      return guarded
    }
    if (!exchange.isOpen) return await output.response
    this.#pass()
    return response
  }

  /** Not an event stream, so it is left alone. Its handler still hears of a client that leaves. */
  #pass(): void {
    this.#stream.exchange.abandon()
    this.#stream.clock.finished()
  }

  // For the registry and `getStream`.

  get requestId(): string {
    return this.#stream.subject.requestId
  }

  get signal(): AbortSignal {
    return this.#stream.clock.signal
  }

  get deadlines(): StreamDeadlines {
    return new HandlerDeadlines(this.#stream.clock)
  }

  get refused(): boolean {
    return this.#stream.output.sent !== undefined
  }

  get options(): object {
    return this.#call.settings.given
  }

  refine(): void {}

  readBodyFrom(): void {}

  stepAside(): void {
    this.#isSkipped = true
    this.#pass()
    this.#outer?.stepAside()
  }

  handOver(): (reason: StreamError | undefined) => void {
    this.#isReplaced = true
    this.#pass()
    this.#outer?.stepAside()
    const { clock } = this.#stream
    return (reason) => {
      // Its handler may have the signal. If it is an upstream that has failed, the handler may call another one.
      if (reason && !/^(upstream|internal)/.test(reason.outcome)) clock.settle(reason)
    }
  }

  enter<Result>(work: () => Result): Result {
    return work()
  }

  respond(): boolean {
    return this.refused
  }

  respondAtLast(error: unknown): void {
    this.#stream.exchange.fail(error)
  }
}

function ignore(): void {}
