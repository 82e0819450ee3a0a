import type { Transcript } from '../dialects/transcript.js'
import type { FailedOutcome } from '../errors/outcomes.js'
import { StreamError } from '../errors/stream-error.js'
import type { Framing } from '../framing/framing.js'
import { framings } from '../framing/framings.js'
import { isJsonLine } from '../framing/ndjson/follow.js'
import { aheadOfEnd } from './refusals.js'
import type { Followed, StoredEnd } from './resume-store.js'
import { forgotten } from './stored-ends.js'

type Parts = AsyncIterator<Followed>

interface FollowOptions {
  /** How many events the client has had. */
  readonly after: number
  /** The last event that was known of when the client came. */
  readonly last: number
  /** How the events are framed, if they do not show it. */
  readonly framing: Framing
  /** Shown the last event that the client has had: how a failure is reported may depend on it. */
  readonly transcript: Transcript
}

/** The rest of a recorded stream for one client, as an upstream that can be relayed to it. */
export class FollowedText {
  /** How many events the client has had by now. */
  had: number
  /** How the stream failed, once it is known that it has. */
  failure: StreamError | undefined
  framing: Framing
  readonly #parts: Parts
  readonly #transcript: Transcript
  /** The last event that is known to have been there. */
  #last: number
  #next: Promise<IteratorResult<Followed, unknown>> | undefined

  constructor(parts: Parts, { after, last, framing, transcript }: FollowOptions) {
    this.#parts = parts
    this.#transcript = transcript
    this.#last = last
    this.had = after
    this.framing = framing
  }

  /**
   * Waits for what comes first. Events show how they are framed: a recorder learns that late.
   *
   * @returns whether it is events
   */
  async begin(): Promise<boolean> {
    this.#next = this.#parts.next()
    const { done, value } = await this.#next
    const isBegun = !done && 'events' in value
    if (isBegun) this.framing = framingOf(value.events)
    return isBegun
  }

  /** @throws StreamError that says how the stream failed, or what of it is no longer there */
  async *[Symbol.asyncIterator](): AsyncGenerator<string | Uint8Array, void> {
    for (;;) {
      const next = await (this.#next ?? this.#parts.next())
      this.#next = undefined
      if (next.done) throw this.#fail(forgotten)
      const part = next.value
      if ('end' in part) return this.#end(part.end)
      if ('gap' in part) this.#miss(...part.gap)
      else {
        this.#last = Math.max(this.#last, part.last)
        const events = this.#unread(part.events, part.first, part.last)
        if (events !== undefined) yield events
      }
    }
  }

  #end(end: StoredEnd): void {
    if (end.outcome !== 'completed') throw this.#fail(end)
    if (this.had > this.#last) throw this.#fail({ outcome: 'aborted', ...aheadOfEnd })
  }

  #fail(end: StoredEnd): StreamError {
    this.failure = failureFrom(end)
    return this.failure
  }

  #miss(from: number, to: number): void {
    // The last one that the client has had was asked for as well, but need not be there.
    if (to <= this.had) return
    const message = `Events ${from} to ${to} are no longer there.`
    throw new StreamError('aborted', { code: 'resume_gap', status: 410, message })
  }

  /** @returns what the client has not had of these events */
  #unread(events: string, first: number, last: number): string | Uint8Array | undefined {
    const isKnown = this.had >= first
    const unread = isKnown ? this.#cut(events, this.had - first + 1, last) : events
    this.had = Math.max(this.had, last)
    return unread
  }

  #cut(events: string, count: number, last: number): Uint8Array | undefined {
    const bytes = Buffer.from(events)
    let seen = 0
    let cutAt = bytes.length
    const follower = this.framing.follow((event, end) => {
      if (++seen !== count) return
      cutAt = end
      if (this.#transcript.observe(event) === 'error') this.#transcript.reportedToClient = true
    })
    follower.push(bytes)
    return last > this.had ? bytes.subarray(cutAt) : undefined
  }
}

/** The first line that is not empty shows it: no field of an event stream is JSON. */
function framingOf(events: string): Framing {
  const [line = ''] = events.trimStart().split('\n', 1)
  return isJsonLine(line) ? framings.ndjson : framings.sse
}

/** Of a client that has left, the one that has come instead hears that the answer was given up. */
const given: Readonly<Record<string, FailedOutcome>> = { client_gone: 'aborted', client_stalled: 'aborted' }

/** How a recorded stream failed, as it is reported to its reader. */
function failureFrom({ outcome, code, message, status }: StoredEnd): StreamError {
  try {
    return new StreamError(given[outcome] ?? (outcome as FailedOutcome), { code, message, status })
  } catch {
    // A store may hold what another version has written.
    return new StreamError('internal', { code, message })
  }
}
