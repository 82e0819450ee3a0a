import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { clientMessage, respondWithError } from '../client/error-response.js'
import { waitUntilFlushed } from '../client/flush.js'
import {
  asServerResponse,
  isEventStream,
  isGone,
  isPlainId,
  liftSocketTimeout,
  ready,
  type StreamResponse,
} from '../client/response.js'
import { channels, describeError, log, type StreamEnd } from '../diagnostics/channels.js'
import { toStreamError } from '../errors/classify.js'
import { StreamError } from '../errors/stream-error.js'
import { guards } from '../registry.js'
import { addLiveStream, isDraining, removeLiveStream } from '../server/live-streams.js'
import { ActiveStream } from './active-stream.js'
import { recordEnd } from './record.js'
import { checkStreamOptions } from './settings.js'
import type { HandleStreamOptions, StreamHandler } from './stream-context.js'

/**
 * Runs one stream from its first deadline to its released socket. Whatever happens to the upstream, the
 * network or the handler, the client gets every event that arrived and then an ending it understands.
 *
 * @param response a response whose head is unsent
 * @returns how the stream ended; rejects for nothing but bad options
 * @throws TypeError | RangeError that names the option and the value
 */
export function handleStream(
  response: StreamResponse,
  handler: StreamHandler,
  options: HandleStreamOptions = {},
): Promise<StreamEnd> {
  try {
    const stream = beginStream(response, options)
    const end = runStream(stream, asServerResponse(response), handler, options)
    stream.ended = end
    return end
  } catch (error) {
    return Promise.reject(error)
  }
}

function beginStream(response: StreamResponse, options: HandleStreamOptions): ActiveStream {
  checkStreamOptions(options, ['signal', 'model', 'requestId'])
  if (options.requestId !== undefined && !isPlainId(options.requestId)) {
    throw new TypeError(
      `requestId must be letters, digits, dots, dashes; got ${JSON.stringify(options.requestId)}`,
    )
  }
  // A guard around the same response has nothing left to do.
  guards().get(response)?.stepAside()
  const stream = new ActiveStream(asServerResponse(response), options)
  addLiveStream(stream, asServerResponse(response))
  return stream
}

async function runStream(
  stream: ActiveStream,
  response: ServerResponse,
  handler: StreamHandler,
  options: HandleStreamOptions,
): Promise<StreamEnd> {
  // The handler runs when its stream is among the live ones.
  await ready
  const { timeouts, upstreams, writer, requestId } = stream
  channels.start.publish({ requestId, model: options.model })
  log.stream('%s: start, model %s', requestId, options.model)
  let completed = true
  try {
    prepare(response, requestId)
    if (isDraining(response)) throw new StreamError('shutdown')
    if (timeouts.reason) throw timeouts.reason
    if (isGone(response)) throw new StreamError('client_gone')
    await stream.fill(handler)
    await complete(stream, response)
    timeouts.settle()
  } catch (error) {
    completed = await fail(stream, response, toStreamError(error), options).catch((failure) => {
      return cutOff(stream, response, failure)
    })
  } finally {
    upstreams.release()
    writer[Symbol.dispose]()
  }
  const { model, onEnd } = options
  const sawTerminal = stream.followed.complete
  const end = recordEnd(
    { timeouts, response, requestId, model, sawTerminal, written: writer, completed },
    onEnd,
  )
  await upstreams.released
  removeLiveStream(stream)
  return end
}

function prepare(response: ServerResponse, requestId: string): void {
  liftSocketTimeout(response)
  if (!response.headersSent && !response.hasHeader('x-request-id')) {
    response.setHeader('x-request-id', requestId)
  }
}

/** Nothing failed: the client gets what closes its stream, and the time to read it. */
async function complete(stream: ActiveStream, response: ServerResponse): Promise<void> {
  const { timeouts, writer, upstreams } = stream
  if (response.headersSent && !writer.committed && !isEventStream(response)) {
    // The handler answered in its own way, say with JSON: its answer ends when the handler ends it.
    if (!isGone(response)) await timeouts.run(once(response, 'close'))
    return
  }
  stream.requireComplete()
  timeouts.finished()
  upstreams.release()
  stream.close(stream.followed.closing())
  const stalled = await finishStream(stream, response)
  if (stalled) throw stalled
}

/** @returns whether the client has a complete answer all the same */
async function fail(
  stream: ActiveStream,
  response: ServerResponse,
  error: StreamError,
  options: HandleStreamOptions,
): Promise<boolean> {
  const { timeouts, writer, requestId } = stream
  timeouts.settle(error)
  const reason = timeouts.reason ?? error
  reason.committed = response.headersSent
  log.stream('%s: %s, %s: %s', requestId, reason.outcome, reason.code, describeError(reason.cause ?? reason))
  if (reason.outcome === 'client_stalled' || options.recovery === false) response.destroy(reason)
  if (isGone(response)) return false
  const { followed } = stream
  if (writer.committed || writer.events > 0) {
    const message = clientMessage(reason, options.exposeDetails)
    stream.close(followed.ending(reason, message, options))
  } else {
    const { dialect } = followed
    respondWithError(reason, response, { dialect, requestId, exposeDetails: options.exposeDetails })
  }
  const { outcome, code, committed } = reason
  channels.recovery.publish({ requestId, outcome, code, committed })
  await finishStream(stream, response)
  return followed.survives(reason)
}

function finishStream({ timeouts, writer }: ActiveStream, response: ServerResponse) {
  const { drainMs } = timeouts.timeouts
  const destroy = (error: Error) => response.destroy(error)
  return waitUntilFlushed(response, { drainMs, taken: () => writer.taken, destroy })
}

/** Even the telling failed, say in a dialect of the caller's: whatever happens, the client is not kept waiting. */
function cutOff({ requestId }: ActiveStream, response: ServerResponse, failure: unknown): false {
  log.stream('%s: the error could not be told: %s', requestId, describeError(failure))
  if (isGone(response)) return false
  const reason = new StreamError('internal', { cause: failure })
  if (response.headersSent) response.destroy(reason)
  else respondWithError(reason, response, { dialect: 'plain' })
  return false
}
