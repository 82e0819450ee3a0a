import type { SSEWriterOptions } from '../client/sse-writer-options.js'
import { log, type StreamEnd } from '../diagnostics/channels.js'
import { describeError } from '../diagnostics/describe-error.js'
import type { StreamDialect } from '../dialects/dialect.js'
import { type DialectName, selectDialect } from '../dialects/index.js'
import { checkFunction, checkNames } from '../errors/bad-input.js'
import { framings } from '../framing/framings.js'
import { runStream } from '../stream/handle-stream.js'
import { streamHeader } from '../stream/resume-target.js'
import type { RouteStream } from '../stream/route-stream.js'
import { readStreamOptions, type StreamSettings } from '../stream/settings.js'
import type { StreamContext } from '../stream/stream-context.js'
import { readCursor } from './cursor.js'
import { FollowedText } from './followed-text.js'
import { idInPath, type ResumeCall, type ResumeHandler, toHandler } from './handler.js'
import type { OwnedStreams } from './owned-streams.js'
import {
  aheadOfEnd,
  badCursor,
  gapBefore,
  type Refusal,
  refuse,
  respondNothing,
  unavailable,
  unknownStream,
} from './refusals.js'
import { dialectNamed, replayed } from './replayed-dialect.js'
import type { FoundStream } from './resume-store.js'

/**
 * The options of `resume.rejoin()`.
 *
 * @example
 * const options: RejoinOptions<{ params: { chat: string } }> = { streamId: ({ params }) => params.chat }
 */
// biome-ignore lint/suspicious/noExplicitAny: it depends on where the handler is mounted
export interface RejoinOptions<AppRequest = any> {
  /**
   * Finds the id of the stream. If there is none, the response is 204, which `useChat` and `EventSource` take for "nothing to
   * read".
   *
   * @defaultValue the parameter `id` of the path, else the last part of the path; an unknown one is 404
   */
  streamId?: ((request: AppRequest) => string | undefined | PromiseLike<string | undefined>) | undefined
  /** The dialect of the streams, if it is one of your own. @defaultValue the one that they were recorded in */
  dialect?: StreamDialect | DialectName | undefined
  /** How the response is written. @defaultValue the defaults of {@link SSEWriterOptions} */
  writer?: Pick<SSEWriterOptions, 'cors' | 'headers' | 'heartbeatMs' | 'maxBufferedBytes'> | undefined
  /** Called once with the record of every stream that was rejoined. Not set: nothing is called. */
  onEnd?: ((end: StreamEnd) => unknown) | undefined
}

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
interface Rejoined {
  readonly id: string
  readonly found: FoundStream
  readonly after: number
  /** Whether each event is to have its number as its id. */
  readonly hasIds: boolean
}

/** @throws TypeError that names the option and the value */
export function rejoinHandler(streams: OwnedStreams, options: RejoinOptions = {}): ResumeHandler {
  checkNames(options, { owner: 'options.', names: ['streamId', 'dialect', 'writer', 'onEnd'] })
  checkFunction('streamId', options.streamId)
  const { dialect, writer, onEnd } = options
  readStreamOptions({ dialect, writer, onEnd, timeouts })
  return toHandler('rejoin()', (call) => rejoin(call, streams, options))
}

async function rejoin(call: ResumeCall, streams: OwnedStreams, options: RejoinOptions): Promise<void> {
  const { response, request } = call
  const { streamId } = options
  try {
    const id = streamId ? await streamId(call.app) : idInPath(call)
    const found = await streams.find(id, call.app)
    if (!found || id === undefined) {
      return streamId ? respondNothing(response) : refuse(response, unknownStream)
    }
    const { headers } = request
    const isEventSource = /\btext\/event-stream\b/i.test(headers.accept ?? '') && request.method === 'GET'
    const hasIds = isEventSource || headers['unhang-ids'] === '1'
    const { after = -1, acceptsGap } = readCursor(request)
    const first = found.first || found.last + 1
    if (isEventSource && hasAll(found, after)) return respondNothing(response)
    const refusal = refusalOf(found, after, acceptsGap)
    if (refusal) return refuse(response, refusal)
    if (after < first - 1) response.setHeader('unhang-first', first)
    await replay(call, streams, options, { id, found, after: Math.max(after, first - 1), hasIds })
  } catch (error) {
    // The app's own function, or the store.
    log.stream('a stream cannot be rejoined: %s', () => describeError(error))
    if (!response.headersSent) refuse(response, unavailable)
  }
}

/** An `EventSource` reconnects until it hears that there is nothing more: after the last event, or after that of a failure. */
function hasAll({ end, last }: FoundStream, after: number): boolean {
  if (!end) return false
  return end.outcome === 'completed' ? after === last : after === last + 1
}

function refusalOf(
  { first, last, end }: FoundStream,
  after: number,
  acceptsGap: boolean,
): Refusal | undefined {
  if (after < 0) return badCursor
  if (after > last && end?.outcome === 'completed') return aheadOfEnd
  const isGap = after < (first || last + 1) - 1
  return isGap && !acceptsGap ? gapBefore(first || last + 1) : undefined
}

async function replay(
  { response }: ResumeCall,
  { store }: OwnedStreams,
  { dialect, writer: writing, onEnd }: RejoinOptions,
  { id, found, after, hasIds }: Rejoined,
): Promise<void> {
  response.setHeader(streamHeader, id)
  response.setHeader('cache-control', 'no-store')
  const { about, last } = found
  const closing = new AbortController()
  let text: FollowedText | undefined
  let following: AsyncIterator<unknown> | undefined
  const idOf = (reason: unknown) =>
    hasIds && text && reason === text.failure ? String(text.had + 1) : undefined
  const given = dialect === undefined ? undefined : { dialect: selectDialect(dialect), isGuess: false }
  const recorded = given ?? dialectNamed(about.dialect)
  const own = replayed(recorded, idOf)
  const follow = async (context: StreamContext) => {
    const stream = context as RouteStream
    const { signal, writer, transcript } = stream
    const stop = () => closing.abort(signal.reason)
    signal.addEventListener('abort', stop)
    // One more than the client has not had: the last one it had says how a failure is worded.
    const parts = store.follow(id, Math.max(after - 1, 0), closing.signal)[Symbol.asyncIterator]()
    following = parts
    const framing = framings[about.framing]
    text = new FollowedText(parts, { after, last, framing, transcript })
    const body = text
    const isBegun = await text.begin()
    writer.head.follow({ status: 200, framing: text.framing })
    // What its client waits for may take long. Before the first event a failure still has a status.
    if (isBegun) writer.open()
    let number = after
    const numbered = (event: { data: string }) => ({ ...event, id: String(++number) })
    const source = { status: 200, headers: { 'content-type': text.framing.type }, data: body }
    await stream.relay(source, hasIds ? numbered : undefined)
  }
  const settings: StreamSettings = {
    ...readStreamOptions({
      dialect: own,
      writer: { ...writing, heartbeat: 'comment' },
      onEnd,
      timeouts,
      relay: { onTruncated: 'accept', maxEventBytes: never },
    }),
    follows: id,
  }
  try {
    await runStream(response, follow, settings, { model: about.model, requestId: undefined })
  } finally {
    closing.abort()
    void following?.return?.().catch(() => {})
  }
}
