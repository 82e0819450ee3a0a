import type { IncomingMessage, ServerResponse } from 'node:http'
import { systemClock, type Timer } from './clock.js'
import { detectStreamingRequest, type StreamingHints } from './detect-streaming-request.js'
import { channels, describeError, log } from './diagnostics.js'
import { recognizeDialect, selectDialect } from './dialects.js'
import { finishResponse } from './end-response.js'
import { toStreamError } from './error-causes.js'
import { clientMessage, requestPath, respondWithError } from './error-response.js'
import { type FailedOutcome, StreamError } from './errors.js'
import { EventBoundary } from './event-boundary.js'
import { EventStreamParser } from './event-stream.js'
import {
  backlogOf,
  completeHead,
  isClosed,
  isGone,
  liftSocketTimeout,
  requestIdOf,
  wasLeft,
  watchPipelined,
} from './exchange.js'
import { type Guarded, guards } from './guard-registry.js'
import { Heartbeat } from './heartbeat.js'
import { addLiveStream, isDraining } from './live-streams.js'
import { reportedBy } from './relay-event-stream.js'
import {
  interceptResponse,
  type OwnMethods,
  type ResponseMethods,
  readHead,
  restoreResponse,
  silenceHeaders,
} from './response-methods.js'
import { encodeEvent, heartbeat, type SSEEvent } from './sse-encode.js'
import { checkWriterOptions } from './sse-writer-options.js'
import type { FollowedStream, StreamDialect } from './stream-dialect.js'
import { modelOf } from './stream-middleware.js'
import type { StreamOptions } from './stream-options.js'
import { recordEnd } from './stream-record.js'
import { TimeoutCoordinator } from './timeout-coordinator.js'
import { resolveTimeouts } from './timeout-options.js'
import { selectTimeoutProfile, timeoutProfiles } from './timeout-profiles.js'
import { Upstreams } from './upstreams.js'

export interface GuardOptions extends StreamOptions {
  /** What counts as a streaming request while the body is unread; `false`: only what is answered with one. */
  detect?: StreamingHints | false | undefined
}

/** What a handler may know of the stream it is writing. */
export interface GuardedStream {
  /** Hand it to every call of the upstream: it aborts when the client leaves or a deadline passes. */
  readonly signal: AbortSignal
  readonly timeouts: TimeoutCoordinator
  readonly requestId: string
}

type State = 'waiting' | 'streaming' | 'passing' | 'closed'

/**
 * The promises of `handleStream` for a handler that writes to the response itself. Until the head is written
 * it only waits; a response that is no event stream is then left alone, byte for byte.
 */
export class ResponseGuard implements Guarded, GuardedStream {
  readonly requestId: string
  readonly timeouts: TimeoutCoordinator
  readonly written = { events: 0, bytes: 0, heartbeats: 0 }
  readonly #request: IncomingMessage
  readonly #response: ServerResponse
  readonly #options: GuardOptions
  #dialect: StreamDialect
  #followed: FollowedStream
  readonly #boundary = new EventBoundary()
  readonly #parser: EventStreamParser
  readonly #heartbeat: Heartbeat
  readonly #upstreams: Upstreams
  readonly #methods: ResponseMethods
  readonly #own: OwnMethods
  readonly #maxBufferedBytes: number
  #state: State = 'waiting'
  #sawTerminal = false
  #wasStream = false
  /** Whether a source is being piped that has not ended. */
  #piping = false
  #lingering: Timer | undefined
  /** What the upstream said of its failure, in an event that has been passed on. */
  #reported: StreamError | undefined
  /** Whether it is the guard that uses the response: some methods of a response call others. */
  #ours = false
  #removeLiveStream: (() => void) | undefined
  #resolveEnded: () => void = () => {}

  constructor(request: IncomingMessage, response: ServerResponse, options: GuardOptions) {
    this.#request = request
    this.#response = response
    this.#options = options
    this.requestId = requestIdOf(response)
    this.#dialect = selectDialect(options.dialect, requestPath(response))
    this.#followed = this.#dialect.follow()
    this.#upstreams = new Upstreams(options.cleanup, (report) => {
      channels.cleanup.publish({ requestId: this.requestId, report })
    })
    const { heartbeatMs, maxBufferedBytes } = checkWriterOptions(options.writer ?? {})
    this.#maxBufferedBytes = maxBufferedBytes
    this.#heartbeat = new Heartbeat(this.#beat, {
      firstMs: Number.POSITIVE_INFINITY,
      everyMs: heartbeatMs,
      clock: systemClock,
    })
    this.#parser = new EventStreamParser(this.#observe, options.relay?.maxEventBytes)
    this.timeouts = new TimeoutCoordinator(options.timeouts, {
      defaults: this.#profile(),
      beforeTimeout: this.#reconsider,
    })
    this.timeouts.onSettled((reason) => reason && this.#stop(reason))
    this.#methods = {
      writeHead: this.#writeHead as ServerResponse['writeHead'],
      write: this.#write as ServerResponse['write'],
      end: this.#end as ServerResponse['end'],
      destroy: this.#destroy,
    }
    this.#own = interceptResponse(response, this.#methods)
    guards().set(request, this)
    guards().set(response, this)
    response.on('close', this.#closed).on('drain', this.#drained).on('pipe', this.#piped)
    response.on('error', ignore)
    watchPipelined(response, this.#closed)
    if (isClosed(response)) this.#closed()
    else if (this.#wantsStream()) {
      if (isDraining(response)) this.timeouts.settle(new StreamError('shutdown'))
      else this.#enlist()
    }
  }

  get signal(): AbortSignal {
    return this.timeouts.signal
  }

  /** Whether the request has been answered, or left, before its handler ran. */
  get refused(): boolean {
    return this.#state === 'closed'
  }

  /** Among the live streams, so that a server that shuts down waits for it. */
  #enlist(): void {
    this.#removeLiveStream ??= addLiveStream(this.#response, {
      stop: (reason) => void this.timeouts.settle(reason),
      ended: new Promise<void>((resolve) => {
        this.#resolveEnded = resolve
      }),
    })
  }

  #leave(): void {
    this.#resolveEnded()
    this.#removeLiveStream?.()
  }

  stepAside(): void {
    if (this.#state === 'waiting') this.#pass()
  }

  /**
   * The handler failed. Before the head that is for the framework to answer.
   *
   * @returns whether it has been taken care of
   */
  failed(error: unknown): boolean {
    if (this.#state === 'streaming') this.#fail(error)
    return this.#state === 'closed'
  }

  /** The handler failed, and there is no framework to answer for it. */
  failedAtLast(error: unknown): void {
    if (this.#state === 'passing') this.#own.destroy(toStreamError(error))
    else this.#fail(error)
  }

  /** What fails on a connection that is gone fails because it is gone. */
  #fail(error: unknown, fallback: FailedOutcome = 'internal'): void {
    const gone = isClosed(this.#response) && wasLeft(this.#response)
    this.timeouts.settle(
      gone ? new StreamError('client_gone', { cause: error }) : toStreamError(error, fallback),
    )
  }

  #profile() {
    const { advancedModels } = this.#options
    const { body } = this.#request as { body?: unknown }
    // Of an unread body nobody knows the model: it may be one that thinks long.
    if (body === undefined) return timeoutProfiles.advanced
    const model = modelOf(body)
    return selectTimeoutProfile({ streaming: true, model }, advancedModels ? { advancedModels } : {})
  }

  #wantsStream(): boolean {
    const { detect } = this.#options
    return detect !== false && detectStreamingRequest(this.#request, detect)
  }

  /** By now the body may have been parsed: it says which model was asked for, and whether for a stream. */
  readonly #reconsider = (): void => {
    // A head that went past us, as HTTP/2 allows, is none of ours.
    if (this.#state === 'waiting' && this.#response.headersSent) return this.#pass()
    if (this.#state === 'waiting' && !this.#wantsStream()) return this.timeouts.finished()
    if (this.#options.timeouts === false) return
    this.timeouts.retime(resolveTimeouts(this.#options.timeouts, this.#profile()))
  }

  readonly #writeHead = (...args: unknown[]): ServerResponse => {
    if (this.#ours) return this.#own.writeHead(...(args as [number]))
    if (this.#state === 'closed') return this.#response
    if (this.#state === 'waiting') {
      const { status, message, headers } = readHead(args)
      const given = (wanted: string) => headers.findLast(([name]) => name.toLowerCase() === wanted)?.[1]
      const isStream = this.#isEventStream(given('content-type'), given('content-encoding'))
      if (status === 200 && isStream && this.#request.method !== 'HEAD')
        return this.#begin(status, message, headers)
      this.#pass()
    }
    return this.#own.writeHead(...(args as [number]))
  }

  /** Also no event stream: one that is compressed, into which nothing can be put. */
  #isEventStream(
    type: unknown = this.#response.getHeader('content-type'),
    encoding: unknown = this.#response.getHeader('content-encoding'),
  ): boolean {
    if (!/^\s*text\/event-stream\b/i.test(String(type))) return false
    return encoding === undefined || encoding === 'identity'
  }

  #begin(status: number, message: string | undefined, headers: [string, unknown][]): ServerResponse {
    const response = this.#response
    if (!this.#removeLiveStream && isDraining(response)) {
      this.timeouts.settle(new StreamError('shutdown'))
      return response
    }
    for (const [name] of headers) response.removeHeader(name)
    for (const [name, value] of headers) response.appendHeader(name, value as string)
    completeHead(response, this.#options.writer ?? {})
    if (!response.hasHeader('x-request-id')) response.setHeader('x-request-id', this.requestId)
    this.#state = 'streaming'
    this.#reconsider()
    this.#wasStream = true
    this.#enlist()
    liftSocketTimeout(response)
    channels.start.publish({ requestId: this.requestId, model: this.#model })
    channels.head.publish({ requestId: this.requestId })
    this.#heartbeat.committed()
    this.#own.writeHead(...((message === undefined ? [status] : [status, message]) as [number]))
    return response
  }

  readonly #write = (chunk: unknown, ...rest: unknown[]): boolean => {
    if (this.#ours) return this.#own.write(chunk as string, ...(rest as []))
    // True: nobody will ever say 'drain'.
    if (this.#state === 'closed') return swallow(rest, true)
    if (this.#state === 'waiting') {
      if (this.#isEventStream()) this.#response.writeHead(this.#response.statusCode)
      else this.#pass()
    }
    if (this.#state !== 'streaming') return this.#own.write(chunk as string, ...(rest as []))
    if (this.#sawTerminal) return swallow(rest, true)
    const failure = this.#follow(chunk, rest[0])
    this.#heartbeat.postpone()
    const more = this.#own.write(chunk as string, ...(rest as []))
    if (failure) this.timeouts.settle(failure)
    else if (this.#sawTerminal) this.#finishAtTerminal()
    else if (!more) this.#wait()
    return more || this.#isOver()
  }

  readonly #end = (chunk?: unknown, ...rest: unknown[]): ServerResponse => {
    if (this.#ours) return this.#own.end(chunk as string, ...(rest as []))
    if (this.#state === 'closed') return swallow([chunk, ...rest], this.#response)
    if (this.#state === 'waiting' && this.#isEventStream())
      this.#response.writeHead(this.#response.statusCode)
    if (this.#state === 'waiting') this.#pass()
    if (this.#state !== 'streaming') return this.#own.end(chunk as string, ...(rest as []))
    const encoding = typeof rest[0] === 'string' ? [rest[0]] : []
    if (chunk !== undefined && chunk !== null && typeof chunk !== 'function') this.#write(chunk, ...encoding)
    this.#conclude()
    return swallow([chunk, ...rest], this.#response)
  }

  /** The handler says that this was all: was it? */
  #conclude(): void {
    if (this.#state !== 'streaming') return
    try {
      this.#parser.end()
      const needed = this.#dialect.needsTerminal && this.#options.relay?.onTruncated !== 'accept'
      if (needed && !this.#followed.complete) throw new StreamError('upstream_truncated')
    } catch (error) {
      this.timeouts.settle(toStreamError(error))
      return
    }
    this.#finish(this.#sawTerminal ? [] : this.#followed.closing())
  }

  readonly #destroy = (error?: Error): ServerResponse => {
    // A client that has left, or an ending that is on its way: the one needs nothing, the other must not be cut.
    if (this.#ours) return this.#own.destroy(error)
    if (this.#state === 'closed') return isClosed(this.#response) ? this.#own.destroy(error) : this.#response
    if (this.#state === 'passing' || isGone(this.#response)) return this.#own.destroy(error)
    if (this.#state === 'waiting' && (error === undefined || !this.#wantsStream()))
      return this.#own.destroy(error)
    this.#fail(error ?? new StreamError('upstream_hangup'), 'upstream_hangup')
    return this.#response
  }

  /**
   * Looks at a chunk on its way to the client.
   *
   * @returns what is wrong with the stream from here on
   */
  #follow(chunk: unknown, encoding: unknown): StreamError | undefined {
    const bytes =
      typeof chunk === 'string'
        ? Buffer.from(chunk, typeof encoding === 'string' ? (encoding as BufferEncoding) : 'utf8')
        : (chunk as Uint8Array)
    this.#boundary.observe(Buffer.from(bytes.subarray(-4)).toString('latin1'))
    this.written.bytes += bytes.length
    try {
      this.#parser.feed(bytes)
      this.#parser.check()
    } catch (error) {
      return toStreamError(error)
    } finally {
      // What comes before the first event is the handler's own: a greeting, not yet the upstream.
      if (this.written.events === 0) this.timeouts.wrote()
      else this.timeouts.touch()
    }
    return this.#reported
  }

  readonly #observe = (event: SSEEvent): void => {
    if (this.#sawTerminal || this.#reported) return
    if (this.written.events++ === 0 && this.#options.dialect === undefined) this.#recognize(event)
    const role = this.#followed.observe(event)
    if (role === 'error') this.#reported = reportedBy(event)
    if (role === 'content') this.timeouts.content()
    if (role === 'terminal') this.#sawTerminal = true
  }

  /** A path tells little of an API; its first event tells more. */
  #recognize(event: SSEEvent): void {
    const dialect = recognizeDialect(event)
    if (!dialect || dialect === this.#dialect) return
    this.#dialect = dialect
    this.#followed = dialect.follow()
  }

  readonly #beat = (): void => {
    if (this.#state !== 'streaming' || !this.#boundary.betweenEvents) return
    this.written.heartbeats++
    this.#send(heartbeat)
  }

  #send(text: string): void {
    this.written.bytes += Buffer.byteLength(text)
    this.#heartbeat.postpone()
    if (!this.#as(() => this.#own.write(text))) this.#wait()
  }

  #wait(): void {
    const response = this.#response
    this.#heartbeat.hold()
    if (backlogOf(response) > this.#maxBufferedBytes) this.timeouts.settle(new StreamError('client_stalled'))
    else if (this.timeouts.phase !== 'drain') this.timeouts.drainStarted(this.#taken)
  }

  readonly #taken = (): number => this.written.bytes - backlogOf(this.#response)

  readonly #drained = (): void => {
    this.#heartbeat.resume()
    this.timeouts.drainEnded()
  }

  /** A source that breaks tells nobody but itself: `pipe` leaves the response open for ever. */
  readonly #piped = (source: NodeJS.ReadableStream & { destroyed?: boolean }): void => {
    if (this.#state !== 'passing') this.#upstreams.adopt(source)
    this.#piping = true
    let ended = false
    const judge = (error: unknown = new StreamError('upstream_hangup')) => {
      if (ended || isGone(this.#response)) return
      if (this.#sawTerminal && this.#state === 'streaming') return this.#finish([])
      // An app that listens to its source's errors answers for them itself, where that is still open to it.
      const isHandled = source.listenerCount('error') > 1
      if (isHandled && (this.#state === 'passing' || !this.#wantsStream())) return
      // A body that is no event stream can only be cut: it must not look complete.
      if (this.#state === 'passing') this.#own.destroy(toStreamError(error, 'upstream_hangup'))
      else this.#fail(error, 'upstream_hangup')
    }
    // After the handler's own listeners, which may have dealt with it.
    const broken = (error?: unknown) => void setImmediate(() => judge(error))
    source.once('end', () => {
      ended = true
      this.#piping = false
    })
    this.#response.on('unpipe', (from: NodeJS.ReadableStream & { destroyed?: boolean }) => {
      if (from !== source || source.destroyed) return
      ended = true
      this.#piping = false
    })
    const onClose = () => broken()
    source.on('error', broken).once('close', onClose)
    // A source may outlive the response, and serve others.
    this.#response.once('close', () => {
      if (this.#state === 'passing') source.off('error', broken).off('close', onClose)
    })
  }

  #isOver(): boolean {
    return this.#state === 'closed'
  }

  /** A handler that waits for its client waits in vain. */
  #releaseWaiting(): void {
    setImmediate(() => this.#response.emit('drain'))
  }

  /** The one place where a stream of a guarded handler goes wrong. */
  #stop(reason: StreamError): void {
    const { requestId } = this
    const before = this.#state
    if (before === 'closed' || before === 'passing') return
    this.#state = 'closed'
    this.#heartbeat.stop()
    this.#upstreams.release(reason)
    reason.committed = before === 'streaming'
    log.stream(
      '%s: %s, %s: %s',
      requestId,
      reason.outcome,
      reason.code,
      describeError(reason.cause ?? reason),
    )
    if (reason.outcome === 'client_gone' || isClosed(this.#response)) return this.#ended(false)
    if (reason.outcome === 'client_stalled' || this.#options.recovery === false) {
      this.#own.destroy(reason)
      return this.#ended(false)
    }
    const { outcome, code, committed } = reason
    if (before === 'waiting') {
      const { exposeDetails } = this.#options
      this.#tell(() =>
        respondWithError(reason, this.#response, { dialect: this.#dialect, requestId, exposeDetails }),
      )
    } else {
      this.#tell(() => this.#tellInStream(reason))
    }
    silenceHeaders(this.#response)
    channels.recovery.publish({ requestId, outcome, code, committed })
    this.#releaseWaiting()
    void this.#flushed(false)
  }

  /** Below whatever the app has put in front of the response since, and safe from what it has hooked into it. */
  #tell(use: () => void): void {
    const response = this.#response
    const { writeHead, write, end } = response
    Object.assign(response, { writeHead: this.#own.writeHead, write: this.#own.write, end: this.#own.end })
    try {
      use()
    } catch (failure) {
      log.stream('%s: the error could not be told: %s', this.requestId, describeError(failure))
      this.#own.destroy(toStreamError(failure))
    } finally {
      Object.assign(response, { writeHead, write, end })
    }
  }

  #tellInStream(reason: StreamError): void {
    if (reason === this.#reported) return this.#endWith([])
    const message = clientMessage(reason, this.#options.exposeDetails)
    const complete = this.#followed.complete && reason.outcome.startsWith('upstream_')
    this.#endWith(complete ? this.#followed.closing() : this.#followed.failing(reason, message))
  }

  /**
   * The client has all of it. A source that is being piped may end by itself within `lingerMs`: cut off before,
   * `pipeline` would take the good stream for a broken one.
   */
  #finishAtTerminal(): void {
    this.timeouts.finished()
    this.#heartbeat.stop()
    const { lingerMs = 1_000 } = this.#options.cleanup || {}
    if (!this.#piping || lingerMs === false) return this.#finish([])
    this.#lingering = systemClock.setTimeout(() => {
      if (this.#state === 'streaming') this.#finish([])
    }, lingerMs)
  }

  #finish(last: readonly SSEEvent[]): void {
    this.#state = 'closed'
    systemClock.clearTimeout(this.#lingering)
    this.#heartbeat.stop()
    this.timeouts.finished()
    this.#upstreams.release()
    this.#tell(() => this.#endWith(last))
    this.#releaseWaiting()
    void this.#flushed(true)
  }

  /** Ends the response with these events, in one write, after the end of the event that has begun. */
  #endWith(events: readonly SSEEvent[]): void {
    const text = this.#boundary.closing + events.map(encodeEvent).join('')
    this.written.bytes += Buffer.byteLength(text)
    this.#as(() => (text === '' ? this.#own.end() : this.#own.end(text)))
  }

  #as<Result>(use: () => Result): Result {
    this.#ours = true
    try {
      return use()
    } finally {
      this.#ours = false
    }
  }

  async #flushed(completed: boolean): Promise<void> {
    const { drainMs } = this.timeouts.timeouts
    const destroy = (error: Error) => void this.#own.destroy(error)
    const stalled = await finishResponse(this.#response, { drainMs, taken: this.#taken, destroy })
    if (stalled) this.timeouts.settle(stalled)
    else if (completed) this.timeouts.settle()
    this.#ended(completed && !stalled)
  }

  readonly #closed = (): void => {
    if (this.#state === 'closed') return
    if (wasLeft(this.#response)) this.timeouts.settle(new StreamError('client_gone'))
    if (this.#state === 'passing') this.#release()
  }

  /** No event stream, and so none of ours. */
  #pass(): void {
    this.#state = 'passing'
    this.#upstreams.forget()
    this.#leave()
    restoreResponse(this.#response, this.#methods, this.#own)
    this.timeouts.finished()
  }

  get #model(): string | undefined {
    return modelOf((this.#request as { body?: unknown }).body)
  }

  #ended(completed: boolean): void {
    const { timeouts, requestId, written } = this
    const wasStream = this.#wasStream || this.#wantsStream()
    this.#release()
    if (!wasStream) {
      // Without us this would have ended the process, with a trace: it must not go unseen.
      if (timeouts.reason?.outcome === 'internal') {
        console.error('unhang: %s: the handler failed:', requestId, timeouts.reason.cause ?? timeouts.reason)
      }
      return
    }
    recordEnd(
      {
        timeouts,
        response: this.#response,
        requestId,
        model: this.#model,
        sawTerminal: this.#sawTerminal || this.#followed.complete,
        written,
        completed,
      },
      this.#options.onEnd,
    )
  }

  #release(): void {
    this.#heartbeat.stop()
    this.timeouts.settle()
    this.#upstreams.release()
    this.#response.off('close', this.#closed).off('drain', this.#drained)
    // What is piped after a failure is released at once.
    if (!this.timeouts.reason) this.#response.off('pipe', this.#piped)
    this.#leave()
  }
}

/** Nothing is sent; a handler that waits for its callback must not wait for ever. */
function swallow<Result>(args: readonly unknown[], result: Result): Result {
  const callback = args.find((arg) => typeof arg === 'function')
  if (callback) process.nextTick(callback as () => void)
  return result
}

function ignore(): void {}

/** The guard around a response: there is only ever one. */
export function guardResponse(
  request: IncomingMessage,
  response: ServerResponse,
  options: GuardOptions,
): ResponseGuard {
  const known = guards().get(response)
  return known instanceof ResponseGuard ? known : new ResponseGuard(request, response, options)
}

/**
 * The stream of a request that the guard watches: its `signal` aborts when the client leaves or a deadline
 * passes.
 *
 * @param request the request of `node:http`, also as Express hands it on; in Koa `context.req`
 */
export function getStream(request: object): GuardedStream | undefined {
  const guard = guards().get(request)
  return guard instanceof ResponseGuard ? guard : undefined
}
