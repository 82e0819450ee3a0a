import type { IncomingMessage } from 'node:http'
import { log, warnOnce } from '../diagnostics/channels.js'
import { StreamError } from '../errors/stream-error.js'
import { type AdoptOption, type AdoptSettings, adoptionOf, cancelsOnDisconnect } from './adopt-options.js'
import { type AdoptedCall, BrokenCalls } from './broken-calls.js'
import type { CallEnding, CallOwner, UpstreamCall } from './call-owner.js'
import type { WatchedResponse } from './handle.js'
import { interceptEvents } from './intercept.js'
import { mayAskForStream } from './request.js'
import { callOwners, noteReader } from './upstream-calls.js'

/** The calls of a request that may ask for a stream, unless the app has hidden them from us. */
export function adoptCalls(request: IncomingMessage, guard: WatchedResponse): AdoptedCalls | undefined {
  const settings = mayAskForStream(request) ? adoptionOf(guard.settings.adopt, request) : undefined
  if (!settings) return undefined
  const calls = new AdoptedCalls(guard, request, settings)
  // The socket emits the events of a request, such as the end of its body, without an owner.
  interceptEvents(request)
  return calls
}

/** The upstream calls that a handler makes, seen without a line in the handler. */
export class AdoptedCalls implements CallOwner {
  isShared = false
  readonly broken: BrokenCalls
  #settings: AdoptSettings
  /** Until the response is over: a keep-alive connection may hold the owner, and must not hold the whole exchange. */
  #guard: WatchedResponse | undefined
  #request: IncomingMessage | undefined
  readonly #leave: () => void
  readonly #begun = new Set<UpstreamCall>()
  readonly #adopted = new Map<UpstreamCall, AdoptedCall>()
  #writes = 0
  /** How the last upstream ended; `'done'` too if the stream did not need it. */
  #lastEnding: CallEnding | undefined
  /** Why the upstreams of this response are cancelled: those that are open, and those whose head is still to come. */
  #cancelReason: StreamError | undefined
  #left = false
  #running = 0

  constructor(guard: WatchedResponse, request: IncomingMessage, settings: AdoptSettings) {
    this.#guard = guard
    this.#request = request
    this.#settings = settings
    this.broken = new BrokenCalls(() => this.#settings.breakMs, {
      isStuck: (call) => this.#isStuck(call),
      report: () => this.#guard?.fail(new StreamError('upstream_hangup')),
    })
    this.#leave = noteReader(this, guard.response)
  }

  /** A guard inside has options of its own. */
  refine(adopt: AdoptOption | undefined): void {
    const settings = this.#request && adoptionOf(adopt, this.#request)
    if (settings) this.#settings = settings
    else {
      // As for a shared one, nothing is done to its calls. It still may be reading another response's upstream.
      this.markShared()
      this.#forgetCalls()
    }
  }

  get isOpen(): boolean {
    return this.#guard?.isOpen === true
  }

  get unwantedEncoding(): string | undefined {
    const isWanted = this.isOpen && !this.isShared && this.#guard?.subject.isWanted === true
    return isWanted ? (this.#request?.headers['accept-encoding'] as string | undefined) : undefined
  }

  /** A response that waits for its own call, and has written nothing, reads no other response's upstream either. */
  get isReading(): boolean {
    return this.#adopted.size > 0 || (this.#begun.size > 0 && this.#writes === 0)
  }

  /** Whether an upstream is still sending, or was when the handler let go of it. A handler that then ends the response does so by itself. */
  get haveMore(): boolean {
    this.#noteEndings()
    return !this.isShared && (this.#countRunning() > 0 || this.#lastEnding === 'aborted')
  }

  /** Whether the last upstream has gone away. */
  get haveBroken(): boolean {
    this.#noteEndings()
    return !this.isShared && this.#lastEnding === 'broken'
  }

  /** How many calls were still running when the response was over without being complete. */
  get leftRunning(): number {
    return this.#guard ? this.#countRunning() : this.#running
  }

  /** The app has written. */
  wrote(): void {
    this.#writes++
    this.broken.moved()
  }

  markShared(): void {
    if (this.isShared) return
    this.isShared = true
    this.resume()
    this.broken.stop()
  }

  begun(call: UpstreamCall): void {
    this.#begun.add(call)
  }

  responded(call: UpstreamCall, { isGood, isStream }: { isGood: boolean; isStream: boolean }): boolean {
    if (!this.#begun.delete(call)) return false
    this.broken.moved()
    if (isGood) this.broken.excuse()
    if (isGood && !isStream) this.broken.goesBeside(call)
    if (!isStream) return false
    this.#lastEnding = undefined
    this.#adopted.set(call, { writesBefore: this.#writes, isExcused: false })
    if (this.#cancelReason) this.cancelUnlessRead()
    else callOwners().readersChanged()
    return true
  }

  ended(call: UpstreamCall, how: CallEnding): void {
    this.#begun.delete(call)
    this.broken.moved()
    const adopted = this.#adopted.get(call)
    this.#adopted.delete(call)
    this.#forgetReason()
    if (!adopted) return
    this.#lastEnding = adopted.isExcused ? 'done' : how
    if (how === 'done') {
      this.broken.excuse()
      for (const other of this.#adopted.values()) other.isExcused = true
    } else if (how === 'broken' && this.isOpen && !this.isShared) this.broken.add(adopted)
  }

  /** A handler may end its response in a listener for the break: those of `node:http` run before its call ends. */
  #noteEndings(): void {
    for (const call of this.#adopted.keys()) {
      const { ending } = call
      // The end of one that has all of its bytes may not have been read.
      if (ending && ending !== 'done') this.ended(call, ending)
    }
  }

  /** Whether the handler makes up the terminal event that it sends now: its upstream has just broken. */
  get denyEnding(): boolean {
    this.#noteEndings()
    return this.broken.denyEnding && this.#adopted.size === 0
  }

  /** The client has left. */
  clientLeft(): void {
    if (this.#left || !this.#guard) return
    this.#left = true
    this.stopped(new StreamError('client_gone'))
  }

  /** The app has stopped the stream: its upstreams are worth as much as those of a client that has left. */
  stopped(reason: StreamError): void {
    if (this.#request && cancelsOnDisconnect(this.#settings, this.#request)) this.#cancel(reason)
  }

  /** The stream has failed. At a deadline its upstreams are released only if the app has asked for it: a call that fails may end a process. */
  failed(reason: StreamError): void {
    if (reason.outcome === 'client_gone') return this.clientLeft()
    if (reason.outcome === 'timeout' && this.#settings.release) this.#cancel(reason)
  }

  #cancel(reason: StreamError): void {
    if (this.isShared) return
    this.#cancelReason = reason
    this.cancelUnlessRead()
  }

  /** The stack of an error holds the exchange. */
  #forgetReason(): void {
    if (!this.#cancelReason || this.#begun.size > 0 || this.#adopted.size > 0) return
    this.#cancelReason = undefined
    callOwners().stopWaiting(this)
  }

  cancelUnlessRead(): void {
    if (this.isShared || !this.#cancelReason) return
    if (callOwners().mayHaveReaders) callOwners().cancelLater(this)
    else this.#cancelAdopted(this.#cancelReason)
    this.#forgetReason()
  }

  /** A turn later: the app's own listeners of the signal or of the response go first, with their own error. */
  #cancelAdopted(reason: StreamError): void {
    const requestId = this.#guard?.subject.requestId ?? ''
    const calls = [...this.#adopted.keys()]
    this.#adopted.clear()
    queueMicrotask(() => {
      for (const call of calls) {
        if (!call.isRunning) continue
        log.cleanup('%s: an upstream call of the handler is cancelled', requestId)
        call.cancel(reason)
      }
    })
  }

  /** Stops reading each source that can be stopped, until the client has caught up. @returns whether all of them stand still */
  pause(): boolean {
    if (this.isShared || this.#adopted.size === 0) return false
    return [...this.#adopted.keys()].map((call) => call.pause()).every(Boolean)
  }

  resume(): void {
    for (const call of this.#adopted.keys()) call.resume()
  }

  /** A stream that is written the unhang way takes care of its own upstreams. */
  stopWatching(): void {
    this.#adopted.clear()
    this.responseOver()
  }

  /** The response is over. */
  responseOver(): void {
    if (!this.#guard) return
    this.#running = this.#countRunning()
    if (this.#running > 0) {
      log.cleanup(
        '%s: upstream calls of the handler that go on: %d',
        this.#guard.subject.requestId,
        this.#running,
      )
      if (this.#left && this.#settings.onDisconnect === undefined)
        warnOnce(
          "a client has left, and the upstream of its handler goes on: see adopt: { onDisconnect: 'cancel' } in docs/GUARD.md",
        )
    }
    this.resume()
    this.#guard = undefined
    this.#request = undefined
    this.broken.stop()
    this.#leave()
    if (!this.#cancelReason) this.#forgetCalls()
  }

  #forgetCalls(): void {
    this.#begun.clear()
    this.#adopted.clear()
  }

  #countRunning(): number {
    return [...this.#adopted.keys()].filter(({ isRunning }) => isRunning).length
  }

  #isStuck({ writesBefore, isExcused }: AdoptedCall): boolean {
    const guard = this.#guard
    if (guard?.state !== 'streaming' || isExcused || this.#begun.size + this.#adopted.size > 0) return false
    // The handler may be waiting for its client.
    return this.#writes > writesBefore && !guard.response.writableNeedDrain
  }
}
