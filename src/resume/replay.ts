import type { ServerResponse } from 'node:http'
import { selectDialect } from '../dialects/index.js'
import type { Transcript } from '../dialects/transcript.js'
import { StreamError } from '../errors/stream-error.js'
import type { Framing } from '../framing/framing.js'
import { framings } from '../framing/framings.js'
import { guards } from '../registry.js'
import { isDraining } from '../server/live-streams.js'
import { runStream } from '../stream/handle-stream.js'
import { withDefaults } from '../stream/inherited-settings.js'
import type { EventMap } from '../stream/relay.js'
import { streamHeader } from '../stream/resume-target.js'
import type { RouteStream } from '../stream/route-stream.js'
import { readStreamOptions, type StreamSettings } from '../stream/settings.js'
import type { StreamContext } from '../stream/stream-context.js'
import type { UpstreamSource } from '../upstream/source.js'
import { markGuarded } from '../web/guard-response.js'
import { serverGuardOf, serverOf } from '../web/node-bindings.js'
import { WebStream } from '../web/stream.js'
import { WebSubject } from '../web/subject.js'
import { firstReadable } from './cursor.js'
import { FollowedText } from './followed-text.js'
import type { RejoinOptions } from './rejoin.js'
import { dialectNamed, replayed } from './replayed-dialect.js'
import type { FetchCall, Reply } from './reply.js'
import type { FoundStream, ResumeStore } from './resume-store.js'

const never = Number.POSITIVE_INFINITY
/** The producer of the stream keeps its deadlines. */
const timeouts = {
  connectMs: never,
  firstByteMs: never,
  firstEventMs: never,
  inactivityMs: never,
  upstreamStallMs: never,
  totalMs: never,
}

/** A stream that a client has asked for, and where it wants to go on. */
export interface Rejoined {
  readonly id: string
  readonly found: FoundStream
  readonly after: number
  /** Whether each event is to have its number as its id. */
  readonly hasIds: boolean
}

/** The text to relay, once its first piece is known. */
interface Begun {
  /** Whether that is events: before them a failure still has a status. */
  readonly isBegun: boolean
  readonly framing: Framing
  readonly source: UpstreamSource
  readonly map: EventMap | undefined
}

/** A recorded stream, on its way to a client that has missed a part of it. */
export class Replay implements Reply {
  readonly #rejoined: Rejoined
  readonly #store: ResumeStore
  readonly #settings: StreamSettings
  readonly #headers: Record<string, string>
  readonly #closing = new AbortController()
  #text: FollowedText | undefined
  #following: AsyncIterator<unknown> | undefined

  constructor(rejoined: Rejoined, store: ResumeStore, { dialect, writer, onEnd }: RejoinOptions) {
    const { id, found, after } = rejoined
    const first = firstReadable(found)
    const isGap = after < first - 1
    this.#rejoined = isGap ? { ...rejoined, after: first - 1 } : rejoined
    this.#store = store
    this.#headers = { [streamHeader]: id, 'cache-control': 'no-store' }
    if (isGap) this.#headers['unhang-first'] = String(first)
    const given = dialect === undefined ? undefined : { dialect: selectDialect(dialect), isGuess: false }
    this.#settings = {
      ...readStreamOptions({
        dialect: replayed(given ?? dialectNamed(found.about.dialect), this.#idOf),
        writer: { ...writer, heartbeat: 'comment' },
        onEnd,
        timeouts,
        relay: { onTruncated: 'accept', maxEventBytes: never },
      }),
      follows: id,
    }
  }

  /** The id of the event that reports a failure. */
  readonly #idOf = (reason: unknown): string | undefined => {
    const text = this.#text
    return this.#rejoined.hasIds && text && reason === text.failure ? String(text.had + 1) : undefined
  }

  async send(response: ServerResponse): Promise<void> {
    for (const [name, value] of Object.entries(this.#headers)) response.setHeader(name, value)
    const follow = async (context: StreamContext) => {
      const stream = context as RouteStream
      const { isBegun, framing, source, map } = await this.#begin(stream.signal, stream.transcript)
      stream.writer.head.follow({ status: 200, framing })
      // The first event may take long.
      if (isBegun) stream.writer.open()
      await stream.relay(source, map)
    }
    const { model } = this.#rejoined.found.about
    try {
      await runStream(response, follow, this.#settings, { model, requestId: undefined })
    } finally {
      this.#close()
    }
  }

  async toResponse({ request, bindings }: FetchCall): Promise<Response> {
    const { model } = this.#rejoined.found.about
    const server = serverOf(bindings)
    // A guard of `node:http` around the whole app has nothing left to do.
    serverGuardOf(bindings)?.stepAside()
    const settings = withDefaults(this.#settings, guards().get(request)?.options)
    const stream = new WebStream(new WebSubject({ request, model }, server), settings, {})
    const { exchange, output, clock } = stream
    stream.headers = this.#headers
    exchange.begin()
    stream.holdHead()
    void exchange.ended.then(() => this.#close())
    if (isDraining(server)) clock.settle(new StreamError('shutdown'))
    else void this.#relay(stream)
    const response = await output.response
    markGuarded(response)
    return response
  }

  async #relay(stream: WebStream): Promise<void> {
    try {
      const { isBegun, framing, source, map } = await this.#begin(stream.clock.signal, stream.transcript)
      stream.follow({ status: 200, framing })
      if (isBegun) stream.output.commit()
      await stream.relay(source, map)
    } catch (error) {
      stream.exchange.fail(error)
    }
  }

  async #begin(signal: AbortSignal, transcript: Transcript): Promise<Begun> {
    const { id, found, after, hasIds } = this.#rejoined
    signal.addEventListener('abort', () => this.#closing.abort(signal.reason))
    // One more than the client has not had: the last one it had says how a failure is worded.
    const parts = this.#store.follow(id, Math.max(after - 1, 0), this.#closing.signal)[Symbol.asyncIterator]()
    this.#following = parts
    const framing = framings[found.about.framing]
    const text = new FollowedText(parts, { after, last: found.last, framing, transcript })
    this.#text = text
    const isBegun = await text.begin()
    let number = after
    const numbered: EventMap = (event) => ({ ...event, id: String(++number) })
    return {
      isBegun,
      framing: text.framing,
      source: { status: 200, headers: { 'content-type': text.framing.type }, data: text },
      map: hasIds ? numbered : undefined,
    }
  }

  #close(): void {
    this.#closing.abort()
    void this.#following?.return?.().catch(() => {})
  }
}
