import { channels, log, type StreamEnd } from '../diagnostics/channels.js'
import { describeError, describeText } from '../diagnostics/describe-error.js'
import type { EventRole } from '../dialects/dialect.js'
import { recognizeDialect } from '../dialects/index.js'
import { Transcript } from '../dialects/transcript.js'
import { toStreamError } from '../errors/classify.js'
import { StreamError, StreamTimeoutError } from '../errors/stream-error.js'
import { clientMessage } from '../errors/upstream-error.js'
import type { SSEEvent } from '../framing/sse/encode.js'
import { type LiveStream, liveStreams } from '../server/live-streams.js'
import { systemClock } from '../timeouts/clock.js'
import type { TimeoutCoordinator } from '../timeouts/timeout-coordinator.js'
import type { UpstreamRetry } from '../upstream/retry-options.js'
import type { EventOutput } from './event-output.js'
import { logFailure, logLate, logRetry } from './exchange-log.js'
import { recordEnd } from './record.js'
import type { EventSink } from './relay-target.js'
import type { StreamRecording } from './resume-target.js'
import type { StreamSettings } from './settings.js'
import type { HeldUpstreams, StreamSubject } from './stream-subject.js'

/**
 * One stream's life, from its first deadline to its record: open, ending, ended, each once, however often asked. The only place
 * that decides an ending.
 */
export class Exchange implements LiveStream, EventSink {
  readonly timeouts: TimeoutCoordinator
  readonly #subject: StreamSubject
  #settings: StreamSettings
  #output: EventOutput
  readonly #upstreams: HeldUpstreams
  #transcript: Transcript | undefined
  #state: 'open' | 'ending' | 'ended' = 'open'
  #begun = false
  #retries = 0
  #record: StreamEnd | undefined
  #whenEnded: Promise<StreamEnd | undefined> | undefined
  #resolveEnded: ((record: StreamEnd | undefined) => void) | undefined

  constructor(
    subject: StreamSubject,
    settings: StreamSettings,
    parts: { output: EventOutput; timeouts: TimeoutCoordinator; upstreams: HeldUpstreams },
  ) {
    this.#subject = subject
    this.#settings = settings
    this.#output = parts.output
    this.timeouts = parts.timeouts
    this.#upstreams = parts.upstreams
  }

  get requestId(): string {
    return this.#subject.requestId
  }

  get server(): object | undefined {
    return this.#subject.server
  }

  /** Whether no ending has been decided yet. */
  get isOpen(): boolean {
    return this.#state === 'open'
  }

  /** The state of the client's events so far. */
  get transcript(): Transcript {
    if (this.#transcript) return this.#transcript
    const { dialect } = this.#settings
    const recognize = dialect ? undefined : recognizeDialect
    this.#transcript = new Transcript(dialect ?? this.#subject.dialect, recognize, this.#subject)
    return this.#transcript
  }

  /** The record, once the client has its ending; nothing of a response that was no stream after all. */
  get ended(): Promise<StreamEnd | undefined> {
    this.#whenEnded ??= new Promise((resolve) => {
      // The function itself: a closure around it was seen to keep the exchange out of the young generation.
      this.#resolveEnded = resolve
      if (this.#state === 'ended') resolve(this.#record)
    })
    return this.#whenEnded
  }

  /** A guard inside the one that began it sets more. */
  refine(settings: StreamSettings): void {
    this.#settings = settings
  }

  /** All that its client gets is recorded from here on. */
  recordTo(recording: StreamRecording): void {
    this.#output = recording.inFrontOf(this.#output)
  }

  /** Joins the live streams, so that a server that shuts down waits for it. */
  enlist(): void {
    liveStreams().add(this)
  }

  /** Announces the stream. From here on it will be recorded. */
  begin(): void {
    if (this.#begun) return
    this.#begun = true
    this.enlist()
    const { requestId, model } = this.#subject
    channels.start.publish({ requestId, model })
    log.stream('%s: start, model %s', requestId, () => describeText(model))
  }

  /** The headers of an event stream have been sent. */
  headSent(): void {
    channels.head.publish({ requestId: this.requestId })
  }

  /** Whether the client has had a byte, or will have: then an error has no status of its own. */
  get committed(): boolean {
    return this.#output.committed
  }

  /**
   * Passes whole events on that have been observed.
   *
   * @returns what to wait for before the next ones; nothing when the terminal event has been sent
   * @throws why they are refused
   */
  accept(bytes: Uint8Array | string, events: number): Promise<void> | undefined {
    const written = this.#output.write(bytes, events)
    const transcript = this.#transcript
    if (this.#state !== 'open' || !transcript) return written
    transcript.pending = false
    if (!transcript.sawTerminal) return written
    // In the turn of the terminal event, so that the end of the response leaves in one write with it.
    this.#end()
    return undefined
  }

  /** Looks at an event on its way to the client. An event that comes after the ending changes nothing. */
  observe(event: SSEEvent): EventRole | undefined {
    if (this.#state !== 'open') return undefined
    const role = this.transcript.observe(event)
    this.transcript.pending = true
    if (role === 'content') this.timeouts.content()
    return role
  }

  /** The events that were observed so far are on their way to the client. */
  sent(): void {
    this.transcript.pending = false
  }

  /**
   * The handler says that this was all.
   *
   * @param received how many events came, if they must say that they are complete
   */
  complete(received?: number): void {
    if (this.#state !== 'open') return
    try {
      if (received !== undefined && !this.#settings.acceptsTruncated)
        this.transcript.requireComplete(received)
    } catch (error) {
      return this.fail(error)
    }
    this.#end()
  }

  /** A call of an upstream is about to be retried. */
  retrying(retry: UpstreamRetry): void {
    this.#retries++
    logRetry(this.requestId, retry)
  }

  /** A failure on a connection whose client has left is not a failure of the upstream: the client is what failed. */
  fail(error: unknown): void {
    if (this.#state !== 'open') return logLate(this.requestId, error, this.timeouts.reason)
    const reason = toStreamError(error)
    const isLeft = this.#output.left && reason.outcome !== 'client_gone'
    this.timeouts.settle(isLeft ? new StreamError('client_gone', { cause: error }) : reason)
  }

  stop(reason: StreamError): void {
    this.timeouts.settle(reason)
  }

  cut(reason: StreamError): void {
    this.#output.destroy(reason)
  }

  /** Its server is about to shut down. Followers of a recorded stream can go on elsewhere. */
  serverDrains(): void {
    if (this.#settings.follows !== undefined) this.stop(new StreamError('shutdown'))
  }

  /** The outcome has been fixed. */
  settled(reason: StreamError | undefined): void {
    if (reason) this.#end(reason)
  }

  /** The response is not a stream after all: nothing is recorded. */
  abandon(): void {
    if (this.#state !== 'open') return
    this.#leave()
  }

  #end(reason?: StreamError): void {
    if (this.#state !== 'open') return
    this.#state = 'ending'
    this.begin()
    this.timeouts.finished()
    this.#output.stop(reason)
    this.#upstreams.release(reason)
    void this.#finish(this.#write(reason))
  }

  /**
   * Writes the ending. A dialect of the app's own may throw at each step.
   *
   * @returns whether the client has the whole answer, whatever happened after it
   */
  #write(reason: StreamError | undefined): boolean {
    try {
      const failure = reason ?? this.#close()
      if (failure) this.#report(failure)
      return failure === undefined || this.transcript.survives(failure)
    } catch (error) {
      log.stream('%s: the stream could not be ended: %s', this.requestId, () => describeError(error))
      this.timeouts.settle(toStreamError(error))
      this.#output.destroy(this.timeouts.reason ?? toStreamError(error))
      return false
    }
  }

  /** @returns what went wrong with it */
  #close(): StreamError | undefined {
    try {
      if (!this.#output.gone) this.#output.end(this.transcript.closing())
      return undefined
    } catch (error) {
      this.timeouts.settle(toStreamError(error))
      return this.timeouts.reason
    }
  }

  #report(reason: StreamError): void {
    const { requestId } = this
    const output = this.#output
    reason.headersSent = output.status !== undefined
    const { outcome, code, headersSent, status } = reason
    logFailure(requestId, reason)
    if (outcome === 'client_gone' || output.gone) return
    if (outcome === 'client_stalled' || !this.#settings.reportsErrors || output.isForeign)
      return this.#cutSoon(reason)
    try {
      const message = clientMessage(reason, this.#settings.exposeUpstreamErrors)
      if (output.committed) {
        const events = this.transcript.ending(reason, message, this.#settings)
        if (!events) return this.#cutSoon(reason)
        output.end(events, this.transcript.survives(reason) ? undefined : { outcome, code, message, status })
      } else output.respond(reason, message)
    } catch (failure) {
      log.stream('%s: the error could not be sent to the client: %s', requestId, () => describeError(failure))
      output.destroy(reason)
      return
    }
    channels.reported.publish({ requestId, outcome, code, headersSent })
  }

  /** A turn later: the bytes that were written by now are on their way then. */
  #cutSoon(reason: StreamError): void {
    systemClock.setImmediate(() => this.#output.destroy(reason))
  }

  async #finish(completed: boolean): Promise<void> {
    const { timeouts } = this
    const isStalled = (await this.#output.flushed()) === 'stalled'
    if (!isStalled) timeouts.settle()
    else if (timeouts.settle(new StreamTimeoutError('clientStall', timeouts.timeouts.clientStallMs))) {
      logFailure(this.requestId, timeouts.reason as StreamError)
    }
    const ended = {
      timeouts,
      subject: this.#subject,
      follows: this.#settings.follows,
      output: this.#output,
      transcript: () => this.transcript,
      retries: this.#retries,
      completed: completed && !isStalled,
      upstreamsLeftRunning: this.#upstreams.leftRunning?.() ?? 0,
    }
    this.#record = recordEnd(ended, this.#settings.onEnd)
    this.#leave()
  }

  #leave(): void {
    this.#state = 'ended'
    liveStreams().delete(this)
    this.#resolveEnded?.(this.#record)
  }
}
