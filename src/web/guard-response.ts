import { shown } from '../errors/bad-input.js'
import { propertyOf } from '../errors/cause-chain.js'
import { framingOf } from '../framing/framings.js'
import { processWide } from '../registry.js'
import { warnOfCompressedStream } from '../stream/opaque-stream.js'
import { readStreamOptions, type StreamOptions, type StreamSettings } from '../stream/settings.js'
import { splitCall, takeOver, type WebCall } from './call.js'
import { recordGuarded } from './record-stream.js'
import { kindOf, leftResponse } from './response-head.js'
import { WebStream } from './stream.js'
import { WebSubject } from './subject.js'

/**
 * The options of {@link guardResponse}.
 *
 * @example
 * guardResponse(response, { request, timeouts: { inactivityMs: 30_000 }, writer: { heartbeatMs: 5_000 } })
 */
export interface GuardResponseOptions extends Omit<StreamOptions, 'writer'>, WebCall {
  /**
   * How the response is completed. The headers are sent with the response, so there is no `headersAfterMs`.
   *
   * @defaultValue the defaults of `SSEWriterOptions`
   */
  writer?: Omit<NonNullable<StreamOptions['writer']>, 'headersAfterMs' | 'framing'> | undefined
}

/** The bodies of responses that have been guarded: a second guard has nothing to do. */
const guardedBodies = processWide('webBodies', () => new WeakSet<object>())

/**
 * Guards the response of a fetch handler: an event stream gets headers, heartbeats, deadlines and an ending its client
 * understands.
 *
 * Bytes stay unchanged, one complete event at a time. Any other response is returned as it is, the same object.
 *
 * @returns a response to return instead
 * @throws TypeError | RangeError that names the option and the value
 * @throws TypeError for a body that has been read, or that other code is reading
 * @example
 * export const POST = async (request: Request) => guardResponse(await fetch(url, { signal: request.signal }), { request })
 */
export function guardResponse(response: Response, options: GuardResponseOptions = {}): Response {
  checkResponse('guardResponse(response)', response)
  const { call: own, options: rest } = splitCall(options)
  const read = readGuarding(rest)
  if (!isGuardable(response, own.request?.method)) return response
  const { call, settings, onSettled } = takeOver(own, read)
  return startGuard(response, new WebStream(new WebSubject(call), settings, { ...call, onSettled }))
}

/** @throws TypeError | RangeError that names the option and the value */
export function readGuarding(options: StreamOptions, more: readonly string[] = []): StreamSettings {
  for (const name of ['headersAfterMs', 'framing']) {
    if (propertyOf(options.writer, name) === undefined) continue
    throw new TypeError(`writer.${name} has no effect in the guard: your handler makes the response`)
  }
  return readStreamOptions(options, more)
}

/** Whether there is anything to guard. @throws TypeError for an event stream that cannot be read */
export function isGuardable(response: Response, method: string | undefined): boolean {
  if (kindOf(response, method) === 'other' || guardedBodies().has(response.body as object)) return false
  if (!response.bodyUsed && !response.body?.locked) return true
  throw new TypeError('the response body has already been read, or is locked by another reader')
}

/** A guard around the handler leaves this response alone. */
export function markGuarded(response: Response | undefined): void {
  if (response?.body) guardedBodies().add(response.body)
}

/** Passes the events of a response on to its client. */
export function startGuard(response: Response, stream: WebStream): Response {
  const { subject, output, exchange } = stream
  subject.head = response.headers
  subject.framing = framingOf(response.headers.get('content-type')) ?? subject.framing
  stream.given = response
  const isOpaque = kindOf(response, subject.method) === 'compressed'
  output.isForeign = isOpaque
  if (isOpaque) warnOfCompressedStream()
  if (exchange.isOpen) {
    stream.retime()
    if (!isOpaque) recordGuarded(stream)
    output.commit()
    markGuarded(output.sent)
    void (isOpaque ? stream.pass(response) : stream.relay(response))
  } else stream.upstreams.adopt(response)
  return output.sent ?? leftResponse()
}

function checkResponse(call: string, value: unknown): void {
  if (isResponse(value)) return
  const isPromise = typeof propertyOf(value, 'then') === 'function'
  throw new TypeError(
    `${call} takes a Response, got ${isPromise ? 'a promise: await it first' : shown(value)}`,
  )
}

export function isResponse(value: unknown): value is Response {
  const { status, headers } = Object(value) as Partial<Response>
  return typeof status === 'number' && typeof headers?.get === 'function'
}
