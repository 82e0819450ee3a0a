import type { IncomingMessage, ServerResponse } from 'node:http'
import {
  isClosed,
  isGone,
  liftSocketTimeout,
  sessionOf,
  wasLeft,
  watchPipelined,
} from '../client/response.js'
import { StreamError } from '../errors/stream-error.js'
import { guards } from '../registry.js'
import { isDraining, rememberSession } from '../server/live-streams.js'
import { Exchange } from '../stream/exchange.js'
import { TimeoutCoordinator } from '../timeouts/timeout-coordinator.js'
import { type AdoptedCalls, adoptCalls } from './adopted-calls.js'
import { GuardOutput } from './event-output.js'
import { failResponse } from './fail-response.js'
import { GuardHandle, type GuardState, type WatchedResponse } from './handle.js'
import { ignoreEnd, ignoreWrite, interceptResponse, type OriginalMethods, refuseWrite } from './intercept.js'
import { Opening } from './opening.js'
import type { Source } from './piped-source.js'
import { PipedSources } from './piped-sources.js'
import { type RecordedResponse, recordResponse } from './recorded-response.js'
import { type GuardOptions, type GuardSettings, RequestedStream, refineSettings } from './request.js'
import { ResponseHead } from './response-head.js'
import { noteReader, noteWriter } from './upstream-calls.js'
import { endedByHandler } from './written-events.js'

/**
 * The promises of `handleStream` for a handler that writes to the response itself. Until the head is written
 * it only waits; a response that is not an event stream is then left alone, byte for byte.
 */
export class ResponseGuard implements WatchedResponse {
  readonly timeouts: TimeoutCoordinator
  readonly subject: RequestedStream
  readonly own: OriginalMethods
  /** The handle that all other code knows it by. */
  readonly handle = new GuardHandle(this)
  readonly response: ServerResponse
  readonly head: ResponseHead
  /** The upstream calls of the handler, unless the guard leaves them alone. */
  readonly calls: AdoptedCalls | undefined
  exchange: Exchange | undefined
  output: GuardOutput | undefined
  recorded: RecordedResponse | undefined
  state: GuardState = 'waiting'
  readonly #opening = new Opening(this)
  #leave: (() => void) | undefined
  /** Most responses have none. */
  #piping: PipedSources | undefined
  /** Whether its server was shutting down when the request came: a request that came before may finish. */
  readonly #cameWhileDraining: boolean

  constructor(request: IncomingMessage, response: ServerResponse, settings: GuardSettings) {
    this.response = response
    this.subject = new RequestedStream(request, response, settings)
    this.#cameWhileDraining = isDraining(this.subject.server)
    rememberSession(sessionOf(response), this.subject.server)
    this.timeouts = new TimeoutCoordinator(undefined, {
      defaults: this.subject.timeouts,
      beforeTimeout: this.#reconsider,
    })
    this.timeouts.onSettled((reason) => reason && this.#settled(reason))
    this.own = interceptResponse(response, {
      ...this.#opening.methods,
      write: this.#write as ServerResponse['write'],
      end: this.#end as ServerResponse['end'],
      destroy: this.#destroy,
    })
    this.head = new ResponseHead(response, this.own, this.subject)
    this.calls = adoptCalls(request, this)
    if (!this.calls) this.#leave = noteReader(this, response)
    guards().set(request, this.handle)
    guards().set(response, this.handle)
    response.on('pipe', this.#piped).on('close', this.#closed).on('error', ignore)
    watchPipelined(response, this.#closed)
    if (isClosed(response)) this.#closed()
    else if (this.subject.isWanted) {
      if (this.#cameWhileDraining) this.timeouts.settle(new StreamError('shutdown'))
      else this.#open().enlist()
    }
  }

  get settings(): GuardSettings {
    return this.subject.settings
  }

  get isOpen(): boolean {
    return !isGone(this.response) || this.recorded?.isDetached === true
  }

  /** Of a stream without calls of its own. */
  readonly isReading = false

  get isPaced(): boolean {
    return this.#piping?.arePiping === true
  }

  /** The stream's life, from when it is known that there is one. */
  #open(): Exchange {
    if (!this.exchange) {
      this.output = new GuardOutput(this.response, this)
      const { subject, settings, timeouts } = this
      const upstreams = { release: this.#release, leftRunning: () => this.calls?.leftRunning ?? 0 }
      this.exchange = new Exchange(subject, settings, { output: this.output, timeouts, upstreams })
    }
    return this.exchange
  }

  get sawTerminal(): boolean {
    return this.output?.sawTerminal === true
  }

  fail(error: unknown): void {
    this.#open().fail(error)
  }

  refine(options: GuardOptions): void {
    if (this.state !== 'waiting') return
    this.subject.settings = refineSettings(this.settings, options)
    this.exchange?.refine(this.settings)
    this.calls?.refine(this.settings.adopt)
    this.head.settingsChanged()
    this.retime()
  }

  retime(): void {
    const transcript = this.state === 'streaming' ? this.exchange?.transcript : undefined
    const { subject } = this
    this.timeouts.retime(transcript ? subject.timeoutsOf(transcript) : subject.timeouts)
  }

  /** By now the body may have been parsed: it says which model was asked for, and whether for a stream. */
  readonly #reconsider = (): void => {
    // Over HTTP/2 a head can be sent past the guard. The guard then leaves the response alone.
    if (this.state === 'waiting' && this.response.headersSent) return this.pass()
    if (this.state === 'waiting' && !this.subject.isWanted) return this.timeouts.finished()
    const isOver = this.state === 'closed' || this.state === 'passing'
    if (!isOver) this.retime()
  }

  /** It is an event stream. @throws what the app has hooked into its headers */
  begin(isOpaque: boolean): ServerResponse {
    if (!this.exchange && this.#cameWhileDraining) {
      this.timeouts.settle(new StreamError('shutdown'))
      return this.response
    }
    const exchange = this.#open()
    this.state = 'streaming'
    try {
      this.head.send(isOpaque, () => {
        this.recorded ??= recordResponse(this, exchange)
      })
    } catch (error) {
      // The app's hooks in the headers may throw. There is no stream yet in that case.
      this.state = 'waiting'
      this.recorded?.giveUp()
      throw error
    }
    this.output?.begin(exchange, isOpaque)
    this.#reconsider()
    liftSocketTimeout(this.response)
    exchange.begin()
    exchange.headSent()
    return this.response
  }

  readonly #write = (chunk: unknown, encoding?: unknown, callback?: unknown): boolean => {
    noteWriter(this.calls)
    this.calls?.wrote()
    if (this.state === 'waiting') this.#opening.bodyBegins(chunk, encoding)
    if (this.state === 'closed') {
      const rest = [encoding, callback]
      return this.output?.sawTerminal ? ignoreWrite(rest) : refuseWrite(this.response, rest)
    }
    if (this.state !== 'streaming' || !this.output) return this.own.write(chunk, encoding, callback)
    const wasComplete = this.output?.sawTerminal
    const more = this.output.pass(chunk, encoding, callback)
    if (!wasComplete && this.output?.sawTerminal) this.#finishAtTerminal()
    return more
  }

  readonly #end = (chunk?: unknown, ...rest: unknown[]): ServerResponse => {
    noteWriter(this.calls)
    const isLast = chunk !== undefined && chunk !== null && typeof chunk !== 'function'
    if (this.state === 'waiting') this.#opening.bodyBegins(isLast ? chunk : '', rest[0])
    if (this.state === 'closed') return ignoreEnd(this.response, [chunk, ...rest])
    if (this.state !== 'streaming' || !this.output) return this.own.end(chunk as string, ...(rest as []))
    const encoding = typeof rest[0] === 'string' ? rest[0] : undefined
    const { written } = this.output
    const fits = !isLast || written?.fits(chunk, encoding) === true
    const isFailure = this.head.late?.saysFailure || (!fits && written?.needsMore === true)
    if (isLast && fits && !isFailure) this.#write(chunk, encoding)
    const hasBroken = this.#piping?.areBroken || (!fits && this.isPaced) || this.calls?.denyEnding === true
    this.#conclude(isFailure || hasBroken)
    return ignoreEnd(this.response, [chunk, ...rest])
  }

  /** The handler says that this was all: was it? */
  #conclude(isFailure: boolean): void {
    if (this.state !== 'streaming') return
    try {
      this.output?.requireComplete(isFailure, this.isPaced)
      this.exchange?.complete()
    } catch (error) {
      this.fail(error)
    }
  }

  readonly #destroy = (error?: Error): ServerResponse => {
    // A client that has left, or an ending that is on its way: the one needs nothing, the other must not be cut.
    if (this.state === 'closed') return isClosed(this.response) ? this.own.destroy(error) : this.response
    const wasAsked = this.state === 'streaming' || (error !== undefined && this.subject.isWanted)
    if (this.state === 'passing' || !this.isOpen || !wasAsked) return this.own.destroy(error)
    const reason = error ?? this.#piping?.error
    this.fail(reason ?? (this.calls?.haveMore ? endedByHandler() : new StreamError('upstream_hangup')))
    return this.response
  }

  get #sources(): PipedSources {
    this.#piping ??= new PipedSources(this)
    return this.#piping
  }

  readonly #release = (reason?: StreamError): void => {
    this.#sources.release(reason)
    if (reason) this.calls?.failed(reason)
  }

  readonly #piped = (source: Source): void => {
    if (this.state !== 'passing' || !this.handle.isOver) this.#sources.add(source)
  }

  #settled(reason: StreamError): void {
    if (this.state === 'closed' || this.state === 'passing') return
    const exchange = this.#open()
    if (this.state === 'streaming' || this.subject.isWanted) exchange.settled(reason)
    else failResponse(this.output as GuardOutput, this, this.#release, reason)
  }

  closed(): void {
    this.state = 'closed'
  }

  /**
   * The client has all of it. A source that is being piped may end by itself within `lingerMs`: cut off before,
   * `pipeline` would take the good stream for a broken one.
   */
  #finishAtTerminal(): void {
    if (this.state !== 'streaming') return
    this.timeouts.finished()
    const { lingerMs = 1_000 } = this.settings.cleanup || {}
    if (!this.isPaced || lingerMs === false) return this.exchange?.complete()
    this.recorded?.complete()
    this.output?.linger(lingerMs, () => this.exchange?.complete())
  }

  readonly #closed = (): void => {
    this.#leave?.()
    if (this.state === 'closed') return
    // It has all of it, and need not wait for the upstream to end.
    if (this.output?.sawTerminal) return this.exchange?.complete()
    if (wasLeft(this.response)) {
      this.timeouts.settle(new StreamError('client_gone'))
      this.calls?.clientLeft()
    } else this.calls?.responseOver()
    if (this.state === 'passing') this.over()
  }

  /** The response is written the unhang way: nothing is looked after here, and no upstream read. */
  stepAside(): void {
    this.calls?.stopWatching()
    this.#leave?.()
    if (this.state === 'waiting') this.pass()
  }

  /** Not an event stream, so it is left alone. */
  pass(): void {
    // The client's leaving has gone unheard if the app took Node's own listeners off the socket.
    if (isClosed(this.response)) return this.#closed()
    this.state = 'passing'
    this.exchange?.abandon()
    this.head.release()
    this.timeouts.finished()
  }

  over(): void {
    this.calls?.responseOver()
    this.#leave?.()
    if (this.state === 'passing') {
      this.timeouts.settle()
      this.#piping?.forget()
    }
    const refused = this.state === 'closed'
    const timeouts = refused || this.timeouts.reason ? this.timeouts : undefined
    this.handle.finish({ refused, requestId: this.subject.knownRequestId, timeouts })
  }
}

function ignore(): void {}
