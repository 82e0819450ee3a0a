import { corsHeaders } from '../client/head.js'
import type { SSEWriterOptions } from '../client/sse-writer-options.js'
import { log, type StreamEnd } from '../diagnostics/channels.js'
import { describeError } from '../diagnostics/describe-error.js'
import type { StreamDialect } from '../dialects/dialect.js'
import type { DialectName } from '../dialects/index.js'
import { checkFunction, checkNames } from '../errors/bad-input.js'
import { readStreamOptions } from '../stream/settings.js'
import { firstReadable, readCursor } from './cursor.js'
import { idInPath, type ResumeCall, type ResumeHandler, toHandler } from './handler.js'
import type { OwnedStreams } from './owned-streams.js'
import {
  aheadOfEnd,
  badCursor,
  gapBefore,
  nothing,
  type Refusal,
  refuse,
  unavailable,
  unknownStream,
} from './refusals.js'
import { Replay } from './replay.js'
import { PlainReply, type Reply } from './reply.js'
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

/** @throws TypeError that names the option and the value */
export function rejoinHandler(streams: OwnedStreams, options: RejoinOptions = {}): ResumeHandler {
  checkNames(options, { owner: 'options.', names: ['streamId', 'dialect', 'writer', 'onEnd'] })
  checkFunction('streamId', options.streamId)
  const { dialect, writer, onEnd } = options
  readStreamOptions({ dialect, writer, onEnd })
  return toHandler('rejoin()', async (call) => {
    const reply = await rejoin(call, streams, options)
    if (!(reply instanceof PlainReply)) return reply
    return reply.with(corsHeaders(call.request.headers.origin, new Map(), writer?.cors))
  })
}

async function rejoin(call: ResumeCall, streams: OwnedStreams, options: RejoinOptions): Promise<Reply> {
  const { app, request, path } = call
  const { streamId } = options
  try {
    const id = streamId ? await streamId(app) : idInPath(call)
    const found = await streams.find(id, app)
    if (!found || id === undefined) return streamId ? nothing : refuse(unknownStream, path)
    const { headers, method } = request
    const isEventSource = /\btext\/event-stream\b/i.test(headers.accept ?? '') && method === 'GET'
    const hasIds = isEventSource || headers['unhang-ids'] === '1'
    const { after = -1, acceptsGap } = readCursor(request)
    if (isEventSource && hasAll(found, after)) return nothing
    const refusal = refusalOf(found, after, acceptsGap)
    if (refusal) return refuse(refusal, path)
    return new Replay({ id, found, after, hasIds }, streams.store, options)
  } catch (error) {
    // The app's own function, or the store.
    log.stream('a stream cannot be rejoined: %s', () => describeError(error))
    return refuse(unavailable, path)
  }
}

/** An `EventSource` reconnects until it hears that there is nothing more: after the last event, or after that of a failure. */
function hasAll({ end, last }: FoundStream, after: number): boolean {
  if (!end) return false
  return end.outcome === 'completed' ? after === last : after === last + 1
}

function refusalOf(found: FoundStream, after: number, acceptsGap: boolean): Refusal | undefined {
  const { last, end } = found
  if (after < 0) return badCursor
  if (after > last && end?.outcome === 'completed') return aheadOfEnd
  const first = firstReadable(found)
  return after < first - 1 && !acceptsGap ? gapBefore(first) : undefined
}
