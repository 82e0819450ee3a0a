import type { ServerResponse } from 'node:http'
import { ready } from '../client/catching-up.js'
import { isPlainId, requestIdOf, setRequestId } from '../client/request-id.js'
import type { StreamResponse } from '../client/response.js'
import { asServerResponse, isGone, liftSocketTimeout, serverOf, sessionOf } from '../client/response.js'
import type { StreamEnd } from '../diagnostics/channels.js'
import { checkSignal, shown } from '../errors/bad-input.js'
import { StreamError } from '../errors/stream-error.js'
import { guards } from '../registry.js'
import { isDraining, rememberSession } from '../server/live-streams.js'
import { withDefaults } from './inherited-settings.js'
import { RouteStream, type StreamCall } from './route-stream.js'
import { readStreamOptions, type StreamSettings } from './settings.js'
import type { HandleStreamOptions, StreamHandler } from './stream-context.js'

/**
 * Runs one stream from its first deadline to its released socket.
 *
 * Whatever happens to the upstream, the network or the handler, the client gets every event that arrived and then
 * an ending it understands.
 *
 * @param response a response whose headers have not been sent
 * @param handler fills the stream; the stream is complete when the handler returns, or at the terminal event
 * @returns how the stream ended; rejects only for wrong options
 * @throws TypeError | RangeError that names the option and the value
 * @example
 * app.post('/v1/chat/completions', express.json(), async (request, response) => {
 *   await handleStream(response, ({ relay, signal }) =>
 *     relay(fetch(url, { method: 'POST', body: JSON.stringify(request.body), signal })),
 *   )
 * })
 */
export function handleStream(
  response: StreamResponse,
  handler: StreamHandler,
  options: HandleStreamOptions = {},
): Promise<StreamEnd> {
  try {
    const target = asServerResponse(response, 'handleStream(response, handler)')
    if (typeof handler !== 'function')
      throw new TypeError(`handler must be a function, got ${shown(handler)}`)
    const settings = readStreamOptions(options, ['signal', 'model', 'requestId'])
    const { requestId, model, signal } = options
    checkSignal('signal', signal)
    if (requestId !== undefined && !isPlainId(requestId)) {
      throw new TypeError(`requestId must be letters, digits, dots, dashes; got ${shown(requestId)}`)
    }
    return runStream(target, handler, settings, { requestId, model, signal })
  } catch (error) {
    return Promise.reject(error)
  }
}

/** The same with options that have been read. */
export async function runStream(
  response: ServerResponse,
  handler: StreamHandler,
  own: StreamSettings,
  { requestId = requestIdOf(response), model, signal }: Partial<StreamCall>,
): Promise<StreamEnd> {
  const guard = guards().get(response)
  const settings = withDefaults(own, guard?.options)
  // A guard around the same response has nothing left to do.
  guard?.stepAside()
  const stream = new RouteStream(response, settings, { requestId, model, signal })
  stream.exchange.enlist()
  rememberSession(sessionOf(response), stream.server)
  void start(stream, response, handler, settings)
  const end = await stream.exchange.ended
  await stream.upstreams.released
  return end as StreamEnd
}

async function start(
  stream: RouteStream,
  response: ServerResponse,
  handler: StreamHandler,
  settings: StreamSettings,
): Promise<void> {
  // The handler runs when its stream is among the live ones.
  await ready
  const { exchange, clock } = stream
  exchange.begin()
  clock.onSettled((reason) => exchange.settled(reason))
  try {
    liftSocketTimeout(response)
    if (settings.writer.headers !== false) setRequestId(response, stream.requestId)
    if (isDraining(serverOf(response))) throw new StreamError('shutdown')
    if (isGone(response)) throw new StreamError('client_gone')
    if (settings.resume && settings.follows === undefined) await stream.recordTo(settings.resume, settings)
  } catch (error) {
    exchange.fail(error)
  }
  if (exchange.isOpen) await stream.fill(handler)
}
