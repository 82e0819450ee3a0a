import { StreamError } from '../errors/stream-error.js'
import type { Framing, FramingName } from '../framing/framing.js'
import { framings } from '../framing/framings.js'
import type { SkippedEvents } from '../framing/sse/blocks.js'
import type { SSEEvent } from '../framing/sse/encode.js'
import type { DialectRequest, DialectState, EventRole, FailingOptions, StreamDialect } from './dialect.js'
import { plain } from './plain.js'
import { UsageTally } from './usage.js'
import { wireText } from './wire-text.js'

/** Some APIs begin with an event of their own, say of a content filter. */
const maxUnrecognized = 4

/** Finds the dialect that an event gives away, or proves the one that the path lets guess. */
type Recognize = (event: SSEEvent, guess: StreamDialect, framing: FramingName) => StreamDialect | undefined

/** The stream beside its events. Some of it is known late, so each member is read when it is needed. */
export interface StreamFacts {
  readonly request?: DialectRequest | undefined
  /** How its events are written. Not set: as its dialect has it. */
  readonly framing?: Framing | undefined
}

/** The state of one stream, by the events that its client has been sent. */
export class Transcript {
  dialect: StreamDialect
  /** Whether the stream has said that it is complete, and nothing may follow. */
  sawTerminal = false
  /** Whether the last events have not been sent yet: if the stream stops now, the client does not have them. */
  pending = false
  /** Whether an event had an id. */
  sawId = false
  /** Whether the client has read of the failure in the upstream's own words. */
  reportedToClient = false
  /** Whether the stream claimed to be complete before any piece of an answer had come. */
  endedEmpty = false
  readonly tally = new UsageTally()
  readonly #facts: StreamFacts
  #begun = false
  #followed: DialectState
  #skips: SkippedEvents | undefined
  #recognize: Recognize | undefined
  /** The events that came while the dialect was unknown. */
  readonly #unrecognized: SSEEvent[] = []

  /** @param recognize finds the dialect that one of the first events gives away: a path tells little of an API */
  constructor(dialect: StreamDialect, recognize?: Recognize, facts: StreamFacts = {}) {
    this.dialect = dialect
    this.#facts = facts
    this.#followed = dialect.follow(facts.request)
    this.#recognize = recognize
    if (!recognize) this.#skips = this.#followed.skips?.()
  }

  /** Looks at an event on its way to the client. */
  observe(event: SSEEvent): EventRole {
    if (event.id) this.sawId = true
    this.#begun = true
    const known = this.#recognize?.(event, this.dialect, this.framingName)
    if (known) this.#decide(known)
    const role = this.#followed.observe(event)
    // An error could be of any API, and says nothing against the path.
    if (this.#recognize && role !== 'error') {
      this.#unrecognized.push(event)
      if (this.#unrecognized.length >= maxUnrecognized) this.#decide(plain)
    }
    if (role === 'terminal') this.sawTerminal = true
    if (role === 'content') this.tally.pieces++
    this.tally.see(event.data)
    this.#skips = this.#recognize || this.sawTerminal ? undefined : this.#followed.skips?.()
    return role
  }

  get framingName(): FramingName {
    return this.#framing.name
  }

  get #framing(): Framing {
    return this.#facts.framing ?? framings[this.dialect.framing ?? 'sse']
  }

  /** One event as the client's stream has it. */
  encode(event: SSEEvent): string {
    return wireText(event, this.dialect, this.#framing)
  }

  /** Whether the events have shown which API they are of. Until then it is what the path says. */
  get isProven(): boolean {
    return this.#recognize === undefined
  }

  /** So many have not been observed: each was a piece of the answer. */
  skipped(events = 1): void {
    this.tally.pieces += events
  }

  /** Which events need not be observed now; see `DialectState.skips`. */
  readonly skips = (): SkippedEvents | undefined => this.#skips

  /** Until an event fits, a path is a guess: a stream of which none does is not a stream of that API. */
  #decide(dialect: StreamDialect): void {
    this.#recognize = undefined
    if (dialect !== this.dialect) {
      this.dialect = dialect
      this.#followed = dialect.follow(this.#facts.request)
      for (const earlier of this.#unrecognized) this.#followed.observe(earlier)
    }
    this.#unrecognized.length = 0
  }

  #decideAtEnd(): void {
    if (this.#recognize && this.#unrecognized.length > 0) this.#decide(plain)
  }

  /** The client did not ask for a model's answer: a stream without any event need not be of this API. */
  doubtIfEmpty(): void {
    if (this.#recognize && !this.#begun) this.#decide(plain)
  }

  /** Whether the client has the whole answer, so that nothing is lost if the upstream breaks now. */
  get complete(): boolean {
    return !this.pending && (this.sawTerminal || this.#followed.complete)
  }

  /** Whether the terminal event, which the client has, ended an empty answer, or says that something is missing. */
  get cutShort(): boolean {
    return this.complete && (this.endedEmpty || this.#followed.cutShort === true)
  }

  /**
   * Whether an event of an upstream ends an empty answer: some failed ones end so.
   *
   * @param received how many events the upstream has sent before
   */
  endsNothing({ data }: SSEEvent, received: number): boolean {
    return received === 0 && data === '[DONE]' && this.dialect.needsTerminal
  }

  /**
   * The upstream simply ended: was that the end?
   *
   * @param received how many events came; in a dialect without terminal events one is enough
   * @throws StreamError `upstream_truncated`
   */
  requireComplete(received: number): void {
    this.#decideAtEnd()
    if (this.complete || (this.#followed.mayEnd && !this.pending)) return
    if (this.dialect.needsTerminal || received === 0) throw new StreamError('upstream_truncated')
  }

  /** The events that the client still needs to know that the stream is complete. */
  closing(): SSEEvent[] {
    this.#decideAtEnd()
    return this.sawTerminal ? [] : this.#followed.closing()
  }

  /** An event that says nothing, where the dialect has one and the client would understand it by now. */
  emptyDelta(): SSEEvent | undefined {
    // Where the events do not fit the path, an event of unhang does not either.
    return this.#begun && !this.isProven ? undefined : this.#followed.emptyDelta?.()
  }

  /** Whether a failure comes too late to be one for the client. */
  survives({ outcome }: StreamError): boolean {
    // After the terminal event nothing may come: a later failure is not one of this stream.
    if (this.sawTerminal) return !this.pending
    return this.complete && (outcome === 'timeout' || outcome.startsWith('upstream_'))
  }

  /** The events that report `reason` to the client of a stream; `undefined` if only a cut would do. */
  ending(reason: StreamError, message: string, options?: FailingOptions): SSEEvent[] | undefined {
    if (!this.reportedToClient) this.#decideAtEnd()
    // It has read of the failure already; some dialects end with more than that.
    if (this.reportedToClient) return this.#followed.failing(reason, message, options)?.slice(1) ?? []
    if (this.survives(reason)) return this.closing()
    return this.#followed.failing(reason, message, options)
  }
}
