import { shown } from '../errors/bad-input.js'
import type { EventMap } from '../stream/relay.js'
import { readStreamOptions, type StreamOptions } from '../stream/settings.js'
import type { UpstreamSource } from '../upstream/source.js'
import { splitCall, takeOver, type WebCall } from './call.js'
import { markGuarded } from './guard-response.js'
import { recordRoute } from './record-stream.js'
import { WebStream } from './stream.js'
import { WebSubject } from './subject.js'

/**
 * The options of {@link relayResponse}.
 *
 * @example
 * relayResponse(upstream, undefined, { request, dialect: 'anthropic', writer: { headersAfterMs: 5_000 } })
 */
export interface RelayResponseOptions extends StreamOptions, WebCall {}

/**
 * An upstream, a promise of one, or a function that calls one with the signal of the stream.
 *
 * @example
 * const upstream: RelayedUpstream = ({ signal }) => fetch(url, { method: 'POST', signal })
 */
export type RelayedUpstream =
  | UpstreamSource
  | PromiseLike<UpstreamSource>
  | ((call: { readonly signal: AbortSignal }) => UpstreamSource | PromiseLike<UpstreamSource>)

/**
 * Responds with the events of an upstream, for a fetch handler. It waits for the first event, so that an upstream that fails
 * before is reported with a status and JSON.
 *
 * Without a `map` the bytes stay unchanged, one complete event at a time.
 *
 * @param upstream best a function, so that the call ends when the client leaves or a deadline passes
 * @returns a response in any case; rejects only for wrong options
 * @throws TypeError | RangeError that names the option and the value
 * @example
 * export const POST = (request: Request) =>
 *   relayResponse(({ signal }) => fetch(url, { method: 'POST', signal }), undefined, { request })
 */
export async function relayResponse(
  upstream: RelayedUpstream,
  map?: EventMap,
  options: RelayResponseOptions = {},
): Promise<Response> {
  if (map !== undefined && typeof map !== 'function')
    throw new TypeError(`map must be a function, got ${shown(map)}; options are the third argument`)
  const { call: own, options: rest } = splitCall(options)
  const { call, settings, onSettled } = takeOver(own, readStreamOptions(rest))
  const stream = new WebStream(new WebSubject(call), settings, { ...call, onSettled })
  const { exchange, output, clock, upstreams } = stream
  exchange.begin()
  stream.holdHead()
  // One that is there already is let go with its stream, and ends no process if it fails before it is read.
  if (typeof upstream !== 'function')
    opened(upstream, clock.signal).then((given) => upstreams.adopt(given), ignore)
  try {
    if (exchange.isOpen && settings.resume) await recordRoute(stream)
  } catch (error) {
    exchange.fail(error)
  }
  if (exchange.isOpen) void stream.relay(opened(upstream, clock.signal), map)
  const response = await output.response
  await stream.begun
  markGuarded(response)
  return response
}

function ignore(): void {}

/** A function that throws is a failure like any other. */
async function opened(upstream: RelayedUpstream, signal: AbortSignal): Promise<UpstreamSource> {
  return typeof upstream === 'function' ? await upstream({ signal }) : await upstream
}
