import type { IncomingMessage, ServerResponse } from 'node:http'
import { requestPath } from '../client/error-response.js'
import {
  givenRequestId,
  isClosed,
  isGone,
  liftSocketTimeout,
  requestIdOf,
  serverOf,
  sessionOf,
  wasLeft,
  watchPipelined,
} from '../client/response.js'
import { describeError, log, warnOnce } from '../diagnostics/channels.js'
import type { StreamDialect } from '../dialects/dialect.js'
import { dialectOfHead, selectDialect } from '../dialects/index.js'
import { toStreamError } from '../errors/classify.js'
import { clientMessage } from '../errors/client-message.js'
import { StreamError } from '../errors/stream-error.js'
import { type Guarded, guards } from '../registry.js'
import { isDraining, rememberSession } from '../server/live-streams.js'
import { Exchange, type StreamSubject } from '../stream/exchange.js'
import { systemClock, type Timer } from '../timeouts/clock.js'
import { TimeoutCoordinator } from '../timeouts/timeout-coordinator.js'
import { GuardOutput, type GuardParts, looksLikeJson } from './event-output.js'
import { type GivenHead, isEventStreamHead, readHead, sendStreamHead, setGivenHeaders } from './given-head.js'
import { type GuardedStream, GuardHandle } from './handle.js'
import {
  ignoreEnd,
  ignoreWrite,
  interceptResponse,
  type OriginalMethods,
  type ResponseMethods,
  refuseWrite,
} from './intercept.js'
import { NoTransformHeader } from './no-transform-header.js'
import { PipedSources, type Source } from './piped-sources.js'
import { type GuardSettings, RequestedStream } from './request.js'

type State = 'waiting' | 'streaming' | 'passing' | 'closed'

/** How long a handler that has heard of its source's end may take to find another. */
const fallbackMs = 1_000

/**
 * The promises of `handleStream` for a handler that writes to the response itself. Until the head is written
 * it only waits; a response that is no event stream is then left alone, byte for byte.
 */
class ResponseGuard implements Guarded, GuardedStream, StreamSubject, GuardParts {
  readonly timeouts: TimeoutCoordinator
  readonly settings: GuardSettings
  readonly subject = this
  readonly own: OriginalMethods
  #requestId: string | undefined
  readonly #registered = new GuardHandle(this)
  readonly #response: ServerResponse
  readonly #requested: RequestedStream
  #uncompressed: NoTransformHeader | undefined
  #exchange: Exchange | undefined
  #output: GuardOutput | undefined
  #state: State = 'waiting'
  /** Most responses have none. */
  #piping: PipedSources | undefined
  /** Whether its server was shutting down when the request came: what began before may finish. */
  readonly #cameWhileDraining: boolean
  #lingering: Timer | undefined

  constructor(request: IncomingMessage, response: ServerResponse, settings: GuardSettings) {
    this.#response = response
    this.settings = settings
    this.#requested = new RequestedStream(request, settings)
    const server = serverOf(response)
    this.#cameWhileDraining = isDraining(server)
    rememberSession(sessionOf(response), server)
    this.timeouts = new TimeoutCoordinator(undefined, {
      defaults: this.#requested.timeouts,
      beforeTimeout: this.#reconsider,
    })
    this.timeouts.onSettled((reason) => reason && this.#settled(reason))
    const methods: ResponseMethods = {
      writeHead: this.#writeHead as ServerResponse['writeHead'],
      write: this.#write as ServerResponse['write'],
      end: this.#end as ServerResponse['end'],
      destroy: this.#destroy,
      setHeader: this.#setHeader as ServerResponse['setHeader'],
    }
    this.own = interceptResponse(response, methods)
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
      else this.#open().enlist()
    }
  }

  get requestId(): string {
    this.#requestId ??= requestIdOf(this.#response)
    return this.#requestId
  }

  get model(): string | undefined {
    return this.#requested.model
  }

  get server(): object | undefined {
    return serverOf(this.#response)
  }

  get dialect(): StreamDialect {
    return dialectOfHead(this.#response) ?? selectDialect(undefined, requestPath(this.#response))
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
    const isOurs = this.#state === 'streaming' || this.#state === 'closed'
    if (isOurs || (isAsked && this.settings.reportsErrors)) this.#fail(error)
    return this.refused
  }

  answerAtLast(error: unknown): void {
    if (this.#state !== 'passing') this.#fail(error)
    else if (!this.#response.writableEnded) this.own.destroy(toStreamError(error))
  }

  /** The stream's life, from when it is known that there is one. */
  #open(): Exchange {
    if (!this.#exchange) {
      this.#output = new GuardOutput(this.#response, this)
      const upstreams = { release: (reason?: StreamError) => this.#sources.release(reason) }
      const { timeouts } = this
      this.#exchange = new Exchange(this, this.settings, { output: this.#output, timeouts, upstreams })
    }
    return this.#exchange
  }

  #fail(error: unknown): void {
    this.#open().fail(error)
  }

  /** By now the body may have been parsed: it says which model was asked for, and whether for a stream. */
  readonly #reconsider = (): void => {
    // A head that went past us, as HTTP/2 allows, is none of ours.
    if (this.#state === 'waiting' && this.#response.headersSent) return this.#pass()
    if (this.#state === 'waiting' && !this.#requested.isWanted) return this.timeouts.finished()
    if (this.settings.timeouts !== false) this.timeouts.retime(this.#requested.timeouts)
  }

  readonly #setHeader = (name: string, value: unknown): ServerResponse => {
    this.own.setHeader(name, value)
    if (this.#state === 'waiting') this.#keepUncompressed(name, value)
    return this.#response
  }

  #keepUncompressed(name: string, value: unknown): void {
    if (!this.#uncompressed) {
      if (this.settings.writer.headers === false || !NoTransformHeader.concerns(name, value)) return
      this.#uncompressed = new NoTransformHeader(this.#response, this.own)
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
    return this.own.writeHead(...(args as [number]))
  }

  #opensStream(status: number, headers?: GivenHead['headers']): boolean {
    const { req: request } = this.#response
    return status === 200 && request.method !== 'HEAD' && isEventStreamHead(this.#response, headers)
  }

  #begin(head: GivenHead): ServerResponse {
    if (!this.#exchange && this.#cameWhileDraining) {
      this.timeouts.settle(new StreamError('shutdown'))
      return this.#response
    }
    setGivenHeaders(this.#response, this.own, head.headers)
    const exchange = this.#open()
    this.#sendHead(head)
    this.#output?.begin(exchange)
    this.#reconsider()
    const { subscriptionTimeouts } = this.#requested
    const isUnknown = exchange.transcript.dialect.name === 'plain' && this.settings.dialect === undefined
    if (isUnknown && subscriptionTimeouts) this.timeouts.retime(subscriptionTimeouts)
    liftSocketTimeout(this.#response)
    exchange.begin()
    exchange.headSent()
    return this.#response
  }

  /** What the app has hooked into the headers may throw: then there is no stream yet. */
  #sendHead(head: GivenHead): void {
    this.#state = 'streaming'
    try {
      sendStreamHead(this.#response, this.own, head, this.settings, this.requestId)
    } catch (error) {
      this.#state = 'waiting'
      throw error
    }
  }

  readonly #write = (chunk: unknown, encoding?: unknown, callback?: unknown): boolean => {
    if (this.#state === 'closed') {
      const rest = [encoding, callback]
      return this.#output?.sawTerminal ? ignoreWrite(rest) : refuseWrite(this.#response, rest)
    }
    if (this.#state === 'waiting') this.#writeImplicitHead(chunk)
    if (this.#state !== 'streaming' || !this.#output) return this.own.write(chunk, encoding, callback)
    const wasComplete = this.#output.sawTerminal
    const more = this.#output.pass(chunk, encoding, callback)
    if (!wasComplete && this.#output.sawTerminal) this.#finishAtTerminal()
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
    if (this.#state !== 'streaming') return this.own.end(chunk as string, ...(rest as []))
    const encoding = typeof rest[0] === 'string' ? [rest[0]] : []
    const isLast = chunk !== undefined && chunk !== null && typeof chunk !== 'function'
    if (isLast && this.#output?.fits(chunk)) this.#write(chunk, ...encoding)
    this.#conclude()
    return ignoreEnd(this.#response, [chunk, ...rest])
  }

  /** The handler says that this was all: was it? */
  #conclude(): void {
    if (this.#state !== 'streaming') return
    try {
      this.#output?.requireComplete()
    } catch (error) {
      // Ended over the head of a source that is still being piped: it is the source that has broken.
      const isTruncated = toStreamError(error).outcome === 'upstream_truncated'
      const hasHungUp = isTruncated && this.#piping?.arePiping
      return this.#fail(hasHungUp ? new StreamError('upstream_hangup') : error)
    }
    this.#exchange?.complete()
  }

  readonly #destroy = (error?: Error): ServerResponse => {
    // A client that has left, or an ending that is on its way: the one needs nothing, the other must not be cut.
    if (this.#state === 'closed') return isClosed(this.#response) ? this.own.destroy(error) : this.#response
    const wasAsked = this.#state === 'streaming' || (error !== undefined && this.#requested.isWanted)
    if (this.#state === 'passing' || isGone(this.#response) || !wasAsked) return this.own.destroy(error)
    this.#fail(error ?? new StreamError('upstream_hangup'))
    return this.#response
  }

  get #sources(): PipedSources {
    this.#piping ??= new PipedSources(
      this.#response,
      () => this.requestId,
      this.settings.cleanup,
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
      if (error !== undefined && !isHeard) this.own.destroy(toStreamError(error, 'upstream_hangup'))
      return
    }
    if (this.#output?.sawTerminal) return this.#exchange?.complete()
    const fail = () => this.#fail(error ?? new StreamError('upstream_hangup'))
    if (!isHeard) return fail()
    // An app that listens to its source's errors may have another source, or an answer of its own.
    if (this.#state === 'waiting') return
    const before = this.#output?.bytes
    const judge = () => {
      if (this.#state === 'streaming' && !this.#piping?.arePiping && this.#output?.bytes === before) fail()
    }
    systemClock.setTimeout(judge, fallbackMs)
  }

  #settled(reason: StreamError): void {
    if (this.#state === 'closed' || this.#state === 'passing') return
    if (this.#state === 'streaming' || this.#requested.isWanted) this.#open().settled(reason)
    else this.#failOtherwise(reason)
  }

  /** A request that wants no stream, whose handler has failed: there is nobody else to respond. */
  #failOtherwise(reason: StreamError): void {
    this.#open()
    const output = this.#output as GuardOutput
    const { requestId } = this
    log.stream(
      '%s: %s, %s: %s',
      requestId,
      reason.outcome,
      reason.code,
      describeError(reason.cause ?? reason),
    )
    output.stop(reason)
    this.#sources.release(reason)
    if (!output.gone && !this.settings.reportsErrors) output.destroy(reason)
    else if (!output.gone) {
      try {
        output.respond(reason, clientMessage(reason, this.settings.exposeDetails))
      } catch (failure) {
        output.destroy(toStreamError(failure))
      }
    }
    // Without us this would have ended the process, with a trace: it must not go unseen.
    if (reason.outcome === 'internal') {
      console.error('unhang: %s: the handler failed:', requestId, reason.cause ?? reason)
    }
    void output.flushed()
  }

  closed(): void {
    this.#state = 'closed'
    systemClock.clearTimeout(this.#lingering)
  }

  /**
   * The client has all of it. A source that is being piped may end by itself within `lingerMs`: cut off before,
   * `pipeline` would take the good stream for a broken one.
   */
  #finishAtTerminal(): void {
    if (this.#state !== 'streaming') return
    this.timeouts.finished()
    const { lingerMs = 1_000 } = this.settings.cleanup || {}
    if (!this.#piping?.arePiping || lingerMs === false) return this.#exchange?.complete()
    this.#output?.quiet()
    this.#lingering = systemClock.setTimeout(() => this.#exchange?.complete(), lingerMs)
  }

  readonly #closed = (): void => {
    if (this.#state === 'closed') return
    // It has all of it, and need not wait for the upstream to end.
    if (this.#output?.sawTerminal) return this.#exchange?.complete()
    if (wasLeft(this.#response)) this.timeouts.settle(new StreamError('client_gone'))
    if (this.#state === 'passing') this.over()
  }

  /** No event stream, and so none of ours. */
  #pass(): void {
    this.#state = 'passing'
    this.#exchange?.abandon()
    this.#uncompressed?.undo()
    this.timeouts.finished()
  }

  over(): void {
    if (this.#state === 'passing') {
      this.timeouts.settle()
      this.#piping?.forget()
    }
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
  settings: GuardSettings,
): Guarded {
  const known = guards().get(response)
  if (!known) return new ResponseGuard(request, response, settings)
  if (!settings.areDefaults) {
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
