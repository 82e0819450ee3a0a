import type { IncomingMessage, ServerResponse } from 'node:http'
import { clientMessage, requestPath, respondWithError } from '../client/error-response.js'
import { waitUntilFlushed } from '../client/flush.js'
import {
  completeHead,
  givenRequestId,
  isClosed,
  isGone,
  liftSocketTimeout,
  requestIdOf,
  serverOf,
  wasLeft,
  watchPipelined,
} from '../client/response.js'
import { channels, describeError, log, warnOnce } from '../diagnostics/channels.js'
import { selectDialect } from '../dialects/index.js'
import { toStreamError } from '../errors/classify.js'
import { type FailedOutcome, StreamError } from '../errors/stream-error.js'
import type { SSEEvent } from '../framing/sse/encode.js'
import { type Guarded, guards } from '../registry.js'
import {
  addLiveStream,
  isDraining,
  type LiveStream,
  rememberSession,
  removeLiveStream,
} from '../server/live-streams.js'
import { recordEnd } from '../stream/record.js'
import { systemClock, type Timer } from '../timeouts/clock.js'
import { TimeoutCoordinator } from '../timeouts/timeout-coordinator.js'
import { GuardedEvents, looksLikeJson } from './event-output.js'
import { type GuardedStream, GuardHandle } from './handle.js'
import {
  type GivenHead,
  ignoreEnd,
  ignoreWrite,
  interceptResponse,
  isEventStreamHead,
  NoTransformHeader,
  type OriginalMethods,
  type ResponseMethods,
  readHead,
  refuseWrite,
  silenceHeaders,
  useOwnMethods,
} from './intercept.js'
import { GuardedSources, type Source } from './piped-sources.js'
import { type GuardOptions, RequestedStream } from './request.js'

type State = 'waiting' | 'streaming' | 'passing' | 'closed'

/** How long a handler that has heard of its source's end may take to find another. */
const fallbackMs = 1_000

const nothingWritten = { events: 0, bytes: 0, heartbeats: 0 }

/**
 * The promises of `handleStream` for a handler that writes to the response itself. Until the head is written
 * it only waits; a response that is no event stream is then left alone, byte for byte.
 */
class ResponseGuard implements Guarded, GuardedStream, LiveStream {
  readonly timeouts: TimeoutCoordinator
  #requestId: string | undefined
  readonly #registered = new GuardHandle(this)
  readonly #response: ServerResponse
  readonly #options: GuardOptions
  readonly #requested: RequestedStream
  readonly #own: OriginalMethods
  #uncompressed: NoTransformHeader | undefined
  #events: GuardedEvents | undefined
  #state: State = 'waiting'
  /** Most responses have none. */
  #piping: GuardedSources | undefined
  /** Whether its server was shutting down when the request came: what began before may finish. */
  readonly #cameWhileDraining: boolean
  #lingering: Timer | undefined
  #isEnlisted = false
  #whenEnded: Promise<void> | undefined
  #resolveEnded: () => void = ignore

  constructor(request: IncomingMessage, response: ServerResponse, options: GuardOptions) {
    this.#response = response
    this.#options = options
    this.#requested = new RequestedStream(request, options)
    this.#cameWhileDraining = isDraining(response)
    rememberSession(response)
    this.timeouts = new TimeoutCoordinator(undefined, {
      defaults: this.#requested.timeouts,
      beforeTimeout: this.#reconsider,
    })
    this.timeouts.onSettled((reason) => reason && this.#stop(reason))
    const methods: ResponseMethods = {
      writeHead: this.#writeHead as ServerResponse['writeHead'],
      write: this.#write as ServerResponse['write'],
      end: this.#end as ServerResponse['end'],
      destroy: this.#destroy,
      setHeader: this.#setHeader as ServerResponse['setHeader'],
    }
    this.#own = interceptResponse(response, methods)
    guards().set(request, this.#registered)
    guards().set(response, this.#registered)
    // Another middleware may have said already that it will be a stream.
    const type = response.getHeader('content-type')
    if (type !== undefined) this.#keepUncompressed('content-type', type)
    response.on('pipe', this.#piped).on('close', this.#closed).on('error', ignore)
    watchPipelined(response, this.#closed)
    if (isClosed(response)) this.#closed()
    else if (this.#requested.isWanted) {
      if (this.#cameWhileDraining) this.timeouts.settle(new StreamError('shutdown'))
      else this.#enlist()
    }
  }

  get requestId(): string {
    this.#requestId ??= requestIdOf(this.#response)
    return this.#requestId
  }

  get signal(): AbortSignal {
    return this.timeouts.signal
  }

  get refused(): boolean {
    return this.#state === 'closed'
  }

  stepAside(): void {
    if (this.#state === 'waiting') this.#pass()
  }

  readBodyFrom(parsed: () => unknown): void {
    this.#requested.readBodyFrom(parsed)
  }

  answer(error: unknown): boolean {
    // A page or a text is no answer to a client that asked for a stream; to any other the framework's is.
    const isAsked = this.#state === 'waiting' && this.#requested.isWanted && !this.#response.headersSent
    const mayTell = this.#options.recovery !== false
    if (this.#state === 'streaming' || (isAsked && mayTell)) this.#fail(error)
    return this.refused
  }

  answerAtLast(error: unknown): void {
    if (this.#state !== 'passing') this.#fail(error)
    else if (!this.#response.writableEnded) this.#own.destroy(toStreamError(error))
  }

  /** What fails on a connection that is gone fails because it is gone. */
  #fail(error: unknown, fallback: FailedOutcome = 'internal'): void {
    const gone = isClosed(this.#response) && wasLeft(this.#response)
    this.timeouts.settle(
      gone ? new StreamError('client_gone', { cause: error }) : toStreamError(error, fallback),
    )
  }

  /** Among the live streams, so that a server that shuts down waits for it. */
  #enlist(): void {
    if (this.#isEnlisted) return
    this.#isEnlisted = true
    addLiveStream(this, this.#response)
  }

  get server(): object | undefined {
    return serverOf(this.#response)
  }

  stop(reason: StreamError): void {
    this.timeouts.settle(reason)
  }

  /** Asked for by a server that shuts down, and by nobody else. */
  get ended(): Promise<void> {
    this.#whenEnded ??= new Promise((resolve) => {
      this.#resolveEnded = resolve
    })
    return this.#whenEnded
  }

  #leave(): void {
    this.#resolveEnded()
    if (this.#isEnlisted) removeLiveStream(this)
  }

  /** By now the body may have been parsed: it says which model was asked for, and whether for a stream. */
  readonly #reconsider = (): void => {
    // A head that went past us, as HTTP/2 allows, is none of ours.
    if (this.#state === 'waiting' && this.#response.headersSent) return this.#pass()
    if (this.#state === 'waiting' && !this.#requested.isWanted) return this.timeouts.finished()
    if (this.#options.timeouts !== false) this.timeouts.retime(this.#requested.timeouts)
  }

  readonly #setHeader = (name: string, value: unknown): ServerResponse => {
    this.#own.setHeader(name, value)
    if (this.#state === 'waiting') this.#keepUncompressed(name, value)
    return this.#response
  }

  #keepUncompressed(name: string, value: unknown): void {
    if (!this.#uncompressed) {
      if (this.#options.writer?.headers === false || !NoTransformHeader.concerns(name, value)) return
      this.#uncompressed = new NoTransformHeader(this.#response, this.#own)
    }
    this.#uncompressed.headerSet(name)
  }

  readonly #writeHead = (...args: unknown[]): ServerResponse => {
    if (this.#state === 'closed') return this.#response
    if (this.#state === 'waiting') {
      const head = readHead(args)
      if (this.#opensStream(head.status, head.headers)) return this.#begin(head)
      this.#pass()
    }
    return this.#own.writeHead(...(args as [number]))
  }

  #opensStream(status: number, headers?: GivenHead['headers']): boolean {
    const { req: request } = this.#response
    return status === 200 && request.method !== 'HEAD' && isEventStreamHead(this.#response, headers)
  }

  #begin({ status, message, headers }: GivenHead): ServerResponse {
    const response = this.#response
    if (!this.#isEnlisted && this.#cameWhileDraining) {
      this.timeouts.settle(new StreamError('shutdown'))
      return response
    }
    for (const [name] of headers) response.removeHeader(name)
    for (const [name, value] of headers) {
      // As the first one it would be set, which is ours to look at while the head is open.
      if (response.hasHeader(name)) response.appendHeader(name, value as string)
      else this.#own.setHeader(name, value)
    }
    const { writer = {} } = this.#options
    completeHead(response, writer)
    if (writer.headers !== false && !response.hasHeader('x-request-id')) {
      this.#own.setHeader('x-request-id', this.requestId)
    }
    this.#state = 'streaming'
    this.#events = new GuardedEvents(response, this.#own, this.timeouts, this.#options)
    this.#reconsider()
    const { subscriptionTimeouts } = this.#requested
    const isUnknown = this.#events.followed.dialect.name === 'plain' && this.#options.dialect === undefined
    if (isUnknown && subscriptionTimeouts) this.timeouts.retime(subscriptionTimeouts)
    this.#enlist()
    liftSocketTimeout(response)
    channels.start.publish({ requestId: this.requestId, model: this.#requested.model })
    channels.head.publish({ requestId: this.requestId })
    this.#own.writeHead(...((message === undefined ? [status] : [status, message]) as [number]))
    return response
  }

  readonly #write = (chunk: unknown, encoding?: unknown, callback?: unknown): boolean => {
    if (this.#state === 'closed') {
      const rest = [encoding, callback]
      return this.#events?.followed.sawTerminal ? ignoreWrite(rest) : refuseWrite(this.#response, rest)
    }
    if (this.#state === 'waiting') this.#writeImplicitHead(chunk)
    if (this.#state !== 'streaming' || !this.#events) return this.#own.write(chunk, encoding, callback)
    const { followed } = this.#events
    const wasComplete = followed.sawTerminal
    const more = this.#events.write(chunk, encoding, callback)
    if (!wasComplete && followed.sawTerminal) this.#finishAtTerminal()
    return more
  }

  #writeImplicitHead(chunk: unknown): void {
    const { statusCode: status } = this.#response
    if (this.#opensStream(status) && !looksLikeJson(chunk)) this.#response.writeHead(status)
    if (this.#state === 'waiting') this.#pass()
  }

  readonly #end = (chunk?: unknown, ...rest: unknown[]): ServerResponse => {
    if (this.#state === 'closed') return ignoreEnd(this.#response, [chunk, ...rest])
    if (this.#state === 'waiting') this.#writeImplicitHead(chunk)
    if (this.#state !== 'streaming') return this.#own.end(chunk as string, ...(rest as []))
    const encoding = typeof rest[0] === 'string' ? [rest[0]] : []
    const isLast = chunk !== undefined && chunk !== null && typeof chunk !== 'function'
    if (isLast && this.#events?.fits(chunk)) this.#write(chunk, ...encoding)
    this.#conclude()
    return ignoreEnd(this.#response, [chunk, ...rest])
  }

  /** The handler says that this was all: was it? */
  #conclude(): void {
    if (this.#state !== 'streaming' || !this.#events) return
    try {
      this.#events.requireComplete()
    } catch (error) {
      // Ended over the head of a source that is still being piped: it is the source that has broken.
      const isTruncated = toStreamError(error).outcome === 'upstream_truncated'
      const hungUp = isTruncated && this.#piping?.arePiping ? new StreamError('upstream_hangup') : error
      this.timeouts.settle(toStreamError(hungUp))
      return
    }
    this.#finish(this.#events.followed.closing())
  }

  readonly #destroy = (error?: Error): ServerResponse => {
    // A client that has left, or an ending that is on its way: the one needs nothing, the other must not be cut.
    if (this.#state === 'closed') return isClosed(this.#response) ? this.#own.destroy(error) : this.#response
    const wasAsked = this.#state === 'streaming' || (error !== undefined && this.#requested.isWanted)
    if (this.#state === 'passing' || isGone(this.#response) || !wasAsked) return this.#own.destroy(error)
    this.#fail(error ?? new StreamError('upstream_hangup'), 'upstream_hangup')
    return this.#response
  }

  get #sources(): GuardedSources {
    this.#piping ??= new GuardedSources(
      this.#response,
      () => this.requestId,
      this.#options.cleanup,
      (error, isHeard) => this.#sourceBroke(error, isHeard),
    )
    return this.#piping
  }

  readonly #piped = (source: Source): void => {
    if (this.#state !== 'passing' || !this.#registered.isOver) this.#sources.add(source)
  }

  #sourceBroke(error: unknown, isHeard: boolean): void {
    if (isGone(this.#response)) return
    if (this.#state === 'passing') {
      // A body that is no event stream can only be cut: it must not look complete.
      if (error !== undefined && !isHeard) this.#own.destroy(toStreamError(error, 'upstream_hangup'))
      return
    }
    if (this.#events?.followed.sawTerminal) return this.#finish([])
    const fail = () => this.#fail(error ?? new StreamError('upstream_hangup'), 'upstream_hangup')
    if (!isHeard) return fail()
    // An app that listens to its source's errors may have another source, or an answer of its own.
    if (this.#state === 'waiting') return
    const before = this.#events?.written.bytes
    const judge = () => {
      if (this.#state === 'streaming' && !this.#piping?.arePiping && this.#events?.written.bytes === before)
        fail()
    }
    systemClock.setTimeout(judge, fallbackMs)
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
    this.#close(reason)
    reason.committed = before === 'streaming'
    const { outcome, code, committed } = reason
    log.stream('%s: %s, %s: %s', requestId, outcome, code, describeError(reason.cause ?? reason))
    if (outcome === 'client_gone' || isClosed(this.#response)) return this.#ended(false)
    if (outcome === 'client_stalled' || this.#options.recovery === false || this.#events?.isJson) {
      this.#own.destroy(reason)
      return this.#ended(false)
    }
    this.#tell(() => this.#tellOf(reason))
    silenceHeaders(this.#response)
    channels.recovery.publish({ requestId, outcome, code, committed })
    this.#releaseWaiting()
    void this.#flushed(this.#events?.followed.survives(reason) ?? false)
  }

  #close(reason?: StreamError): void {
    this.#state = 'closed'
    systemClock.clearTimeout(this.#lingering)
    this.#events?.stop()
    this.#sources.release(reason)
  }

  #tell(use: () => void): void {
    try {
      useOwnMethods(this.#response, this.#own, use)
    } catch (failure) {
      log.stream('%s: the error could not be told: %s', this.requestId, describeError(failure))
      this.#own.destroy(toStreamError(failure))
    }
  }

  #tellOf(reason: StreamError): void {
    const { exposeDetails, dialect: choice } = this.#options
    if (this.#events) {
      const { followed } = this.#events
      return this.#events.end(followed.ending(reason, clientMessage(reason, exposeDetails), this.#options))
    }
    const dialect = selectDialect(choice, requestPath(this.#response))
    respondWithError(reason, this.#response, { dialect, requestId: this.requestId, exposeDetails })
  }

  /**
   * The client has all of it. A source that is being piped may end by itself within `lingerMs`: cut off before,
   * `pipeline` would take the good stream for a broken one.
   */
  #finishAtTerminal(): void {
    if (this.#state !== 'streaming') return
    this.timeouts.finished()
    const { lingerMs = 1_000 } = this.#options.cleanup || {}
    if (!this.#piping?.arePiping || lingerMs === false) return this.#finish([])
    this.#events?.stop()
    this.#lingering = systemClock.setTimeout(() => {
      if (this.#state === 'streaming') this.#finish([])
    }, lingerMs)
  }

  #finish(last: readonly SSEEvent[]): void {
    this.#close()
    this.timeouts.finished()
    this.#tell(() => this.#events?.end(last))
    this.#releaseWaiting()
    void this.#flushed(true)
  }

  async #flushed(completed: boolean): Promise<void> {
    const { drainMs } = this.timeouts.timeouts
    const destroy = (error: Error) => void this.#own.destroy(error)
    const taken = this.#events?.taken ?? (() => 0)
    const stalled = await waitUntilFlushed(this.#response, { drainMs, taken, destroy })
    if (stalled) this.timeouts.settle(stalled)
    else if (completed) this.timeouts.settle()
    this.#ended(completed && !stalled)
  }

  readonly #closed = (): void => {
    if (this.#state === 'closed') return
    if (this.#events?.followed.sawTerminal) {
      // It has all of it, and need not wait for the upstream to end.
      this.#close()
      this.timeouts.settle()
      return this.#ended(true)
    }
    if (wasLeft(this.#response)) this.timeouts.settle(new StreamError('client_gone'))
    if (this.#state === 'passing') this.#release()
  }

  /** No event stream, and so none of ours. */
  #pass(): void {
    this.#state = 'passing'
    this.#leave()
    this.#uncompressed?.undo()
    this.timeouts.finished()
  }

  #ended(completed: boolean): void {
    const { timeouts, requestId } = this
    const wasStream = this.#events !== undefined || this.#requested.isWanted
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
        model: this.#requested.model,
        sawTerminal: this.#events?.followed.complete ?? false,
        written: this.#events?.written ?? nothingWritten,
        completed,
      },
      this.#options.onEnd,
    )
  }

  #release(): void {
    this.#events?.stop()
    this.timeouts.settle()
    if (this.#state === 'passing') this.#piping?.forget()
    else this.#sources.release()
    this.#leave()
    const { refused } = this
    const timeouts = refused || this.timeouts.reason ? this.timeouts : undefined
    const requestId = this.#requestId ?? givenRequestId(this.#response.req)
    this.#registered.finish({ refused, requestId, timeouts })
  }
}

function ignore(): void {}

/** The guard around a response: there is only ever one, of whichever copy of the library. */
export function guardResponse(
  request: IncomingMessage,
  response: ServerResponse,
  options: GuardOptions,
): Guarded {
  const known = guards().get(response)
  if (!known) return new ResponseGuard(request, response, options)
  if (Object.keys(options).length > 0) {
    warnOnce('a response is guarded twice: the options of the inner guard are not used')
  }
  return known
}

/**
 * The stream of a request that the guard watches: its `signal` aborts when the client leaves or a deadline
 * passes.
 *
 * @param request the request of `node:http`, also as Express hands it on; in Koa the context or its request
 */
export function getStream(request: object): GuardedStream | undefined {
  const { req = request } = request as { req?: object }
  return guards().get(req) as (Guarded & GuardedStream) | undefined
}
