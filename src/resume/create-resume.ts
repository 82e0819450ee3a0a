import { randomBytes } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { warnOnce } from '../diagnostics/channels.js'
import { describeError } from '../diagnostics/describe-error.js'
import { checkFunction, checkNames, shown } from '../errors/bad-input.js'
import type { RecordableStream, ResumeTarget, StreamRecording } from '../stream/resume-target.js'
import type { ResumeHandler } from './handler.js'
import { readLimit } from './limits.js'
import { memoryStore } from './memory-store.js'
import { isStreamId, OwnedStreams } from './owned-streams.js'
import { Recording } from './recording.js'
import { type RejoinOptions, rejoinHandler } from './rejoin.js'
import type { RecordedStream, ResumeStore, StoredEnd } from './resume-store.js'
import { type StopOptions, stopHandler } from './stop.js'

/**
 * The options of {@link createResume}; times are in milliseconds. `AppRequest` is what your functions get: the request, in
 * Koa the context.
 *
 * @example
 * const options: ResumeOptions = { owner: ({ headers }) => headers['x-user-id']?.toString(), detachMs: 60_000 }
 */
export interface ResumeOptions<AppRequest = IncomingMessage> {
  /** Where streams are recorded. @defaultValue `memoryStore()` */
  store?: ResumeStore | undefined
  /**
   * Returns whose stream it is: only requests of the same owner can rejoin it or stop it. A stream without an owner is not
   * recorded. `false`: every client that knows the id of a stream can read it.
   */
  owner: ((request: AppRequest) => string | undefined) | false
  /** Chooses the id of a stream: letters, digits and `.:~_-`. @defaultValue 144 random bits, base64url */
  streamId?: ((request: AppRequest) => string) | undefined
  /**
   * How long a stream goes on for a client that has left, while no other client reads it. `0`: it is aborted at once.
   * `Infinity`: it goes on to its end.
   *
   * @defaultValue `30_000`
   */
  detachMs?: number | undefined
  /** How long a stream can be rejoined after its end. @defaultValue `60_000` */
  ttlMs?: number | undefined
  /** How many bytes of one stream are kept; the oldest events go first. @defaultValue `1024 * 1024` */
  maxBytes?: number | undefined
  /** How many events of one stream are kept. @defaultValue `10_000` */
  maxEvents?: number | undefined
}

/** The state of a recorded stream. */
export interface StreamState {
  /** The id of the stream in logs and records. */
  readonly requestId: string
  /** The requested model; `undefined` if it is unknown. */
  readonly model: string | undefined
  /** The number of the first event that is still there; `0` before there is one. */
  readonly first: number
  /** The number of the last event; `0` before there is one. */
  readonly last: number
  /** How the stream ended; `undefined` while it is being produced. */
  readonly end: StoredEnd | undefined
}

/** Streams that a client can rejoin; pass it as the option `resume`. */
export interface Resume extends ResumeTarget {
  /**
   * Returns a handler that sends a client what it has missed of a stream, and then the live rest.
   *
   * Mount it for `GET` in Express, in Koa, or call it in a listener of `node:http`.
   *
   * @throws TypeError that names the option and the value
   */
  // biome-ignore lint/suspicious/noExplicitAny: it depends on where the handler is mounted
  rejoin<AppRequest = any>(options?: RejoinOptions<AppRequest>): ResumeHandler
  /**
   * Returns a handler that ends a stream, in the process that produces it, and aborts its upstream. Its clients read
   * `request_aborted`.
   *
   * Mount it for `DELETE` or `POST`.
   *
   * @throws TypeError that names the option and the value
   */
  // biome-ignore lint/suspicious/noExplicitAny: it depends on where the handler is mounted
  stop<AppRequest = any>(options?: StopOptions<AppRequest>): ResumeHandler
  /** Returns what is known of a stream, without a look at its owner; `undefined` if it is not there. */
  find(id: string): Promise<StreamState | undefined>
}

const defaults = { detachMs: 30_000, ttlMs: 60_000, maxBytes: 1024 * 1024, maxEvents: 10_000 }
const names = ['store', 'owner', 'streamId', ...Object.keys(defaults)]

/**
 * Lets clients that have lost their connection rejoin their stream.
 *
 * Streams are recorded on their way to the client. When a client leaves, its stream goes on for `detachMs`.
 *
 * @throws TypeError that names the option and the value
 * @example
 * const resume = createResume({ owner: (request) => request.headers['x-user-id']?.toString() })
 * app.use(guardStreams({ resume }))
 * app.get('/v1/streams/:id', resume.rejoin())
 * app.delete('/v1/streams/:id', resume.stop())
 */
export function createResume<AppRequest = IncomingMessage>(options: ResumeOptions<AppRequest>): Resume {
  checkNames(options, { owner: 'options.', names, instead: { owners: 'owner', ttl: 'ttlMs' } })
  const { store = memoryStore(), owner, streamId } = options
  for (const name of ['record', 'find', 'follow', 'stop'] as const) {
    if (typeof (Object(store) as ResumeStore)[name] === 'function') continue
    throw new TypeError(
      `store must be the result of memoryStore() or redisStore(client), got ${shown(store)}`,
    )
  }
  if (owner !== false && typeof owner !== 'function') {
    const hint =
      'write a function of the request, or false if every client that knows an id may read the stream'
    throw new TypeError(`owner must be a function or false, got ${shown(owner)}; ${hint}`)
  }
  checkFunction('streamId', streamId)
  const { detachMs = defaults.detachMs, ttlMs = defaults.ttlMs } = options
  if (typeof detachMs !== 'number' || !(detachMs >= 0)) {
    throw new TypeError(`detachMs must be a number of milliseconds, 0 or Infinity; got ${shown(detachMs)}`)
  }
  if (typeof ttlMs !== 'number' || !(ttlMs > 0) || ttlMs === Number.POSITIVE_INFINITY) {
    throw new TypeError(`ttlMs must be a number of milliseconds above 0; got ${shown(ttlMs)}`)
  }
  return new RecordedStreams(new OwnedStreams(store, owner), {
    streamId: streamId as ((request: object) => unknown) | undefined,
    detachMs,
    limits: {
      maxBytes: readLimit('maxBytes', options.maxBytes ?? defaults.maxBytes),
      maxEvents: readLimit('maxEvents', options.maxEvents ?? defaults.maxEvents),
      ttlMs,
    },
  })
}

interface RecordingSettings {
  readonly streamId: ((request: object) => unknown) | undefined
  readonly detachMs: number
  readonly limits: RecordedStream['limits']
}

class RecordedStreams implements Resume {
  readonly #streams: OwnedStreams
  readonly #settings: RecordingSettings

  constructor(streams: OwnedStreams, settings: RecordingSettings) {
    this.#streams = streams
    this.#settings = settings
  }

  record(stream: RecordableStream): StreamRecording | undefined {
    const { limits, detachMs, streamId: choose } = this.#settings
    const owner = this.#streams.ownerFor(stream.request)
    const streamId = choose ? chosen(choose, stream.request) : randomBytes(18).toString('base64url')
    if (!owner || streamId === undefined) return undefined
    const { requestId, model, framing, transcript } = stream
    const { dialect: known, isProven } = transcript
    // The first events may show another one.
    const dialect = isProven ? known.name : `${known.name}?`
    const about = { owner: owner.hash, dialect, framing: framing.name, requestId, model, limits }
    return new Recording(stream, {
      streamId,
      isChosen: choose !== undefined,
      detachMs,
      maxBytes: limits.maxBytes,
      record: (events) => this.#streams.store.record(streamId, about, events),
    })
  }

  rejoin<AppRequest>(options?: RejoinOptions<AppRequest>): ResumeHandler {
    return rejoinHandler(this.#streams, options as RejoinOptions | undefined)
  }

  stop<AppRequest>(options?: StopOptions<AppRequest>): ResumeHandler {
    return stopHandler(this.#streams, options as StopOptions | undefined)
  }

  async find(id: string): Promise<StreamState | undefined> {
    if (!isStreamId(id)) return undefined
    const found = await this.#streams.store.find(id)
    if (!found) return undefined
    const { about, first, last, end } = found
    return { requestId: about.requestId, model: about.model, first, last, end }
  }
}

/** @returns `undefined` for anything but an id: the stream is then served, but not recorded */
function chosen(choose: (request: object) => unknown, request: object): string | undefined {
  try {
    const id = choose(request)
    if (isStreamId(id)) return id
    if (id instanceof Promise) id.catch(() => {})
    warnOnce(
      `resume: streamId(request) must return letters, digits and .:~_-, at most 200; the stream is not recorded`,
    )
  } catch (error) {
    warnOnce(`resume: streamId(request) failed, the stream is not recorded: ${describeError(error)}`)
  }
  return undefined
}
