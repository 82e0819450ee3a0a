import type { ServerResponse } from 'node:http'
import { log } from '../diagnostics/channels.js'
import { describeError } from '../diagnostics/describe-error.js'
import type { StreamDialect } from '../dialects/dialect.js'
import { type DialectName, selectDialect } from '../dialects/index.js'
import { wireText } from '../dialects/wire-text.js'
import { checkFlag, checkNames, shown } from '../errors/bad-input.js'
import { toStreamError } from '../errors/classify.js'
import type { StreamError } from '../errors/stream-error.js'
import { clientMessage } from '../errors/upstream-error.js'
import { writers } from '../registry.js'
import { errorHeaders, headersOfBody } from './error-headers.js'
import { corsHeaders, type EventStreamHeadOptions } from './head.js'
import { setRequestId } from './request-id.js'
import { asServerResponse, discardUnreadBody, framingSent, isGone, type StreamResponse } from './response.js'

/**
 * The options of {@link respondWithError} and {@link handleSocketHangUp}.
 *
 * @example
 * respondWithError(error, response, { dialect: 'anthropic', exposeUpstreamErrors: true })
 */
export interface ErrorResponseOptions {
  /** How the client's API reports errors. @defaultValue by the request's path */
  dialect?: StreamDialect | DialectName | undefined
  /**
   * Whether the client may read the upstream's own error message, which may hold keys and host names.
   *
   * @defaultValue `false`
   */
  exposeUpstreamErrors?: boolean | undefined
  /** The id in the error body and in `x-request-id`, unless the app has set that. Not set: no id is sent. */
  requestId?: string | undefined
}

/**
 * Reports a failed request to the client, in whatever way the response still allows.
 *
 * Before the headers: a status and JSON. In an event stream: an error event and a clean end. In any other body: a
 * cut connection, since that body must not look complete. For a client that has left: nothing.
 *
 * @param error anything that was thrown; an error from neither unhang nor the upstream becomes "internal error"
 * @throws TypeError for an unknown dialect
 * @example
 * try {
 *   await fetch(url)
 * } catch (error) {
 *   respondWithError(error, response)
 * }
 */
export function respondWithError(
  error: unknown,
  response: StreamResponse,
  options: ErrorResponseOptions = {},
): void {
  const target = checkTarget('respondWithError(error, response)', response, options)
  const reason = toStreamError(error)
  const dialect = selectDialect(options.dialect, requestPath(target))
  reason.headersSent = target.headersSent
  if (isGone(target)) return
  const message = clientMessage(reason, options.exposeUpstreamErrors)
  // Events that have been written but not sent would be lost beside a status.
  const writer = writers().get(target)
  if (writer && (writer.headersSent || writer.events > 0)) {
    const events = dialect.follow().failing(reason, message)
    return events ? writer.close(...events) : void target.destroy(reason)
  }
  const { requestId } = options
  if (requestId) setRequestId(target, requestId)
  if (!target.headersSent) return sendErrorBody(target, reason, { message, dialect, requestId })
  const framing = framingSent(target)
  const events = dialect.follow().failing(reason, message)
  if (!framing || !events) {
    target.destroy(reason)
    return
  }
  // The last event may not have been finished; one more empty line does no harm.
  target.end(framing.blockEnd + events.map((event) => wireText(event, dialect, framing)).join(''))
}

/** A mistake must show at once, not with the first error that comes. */
function checkTarget(call: string, response: StreamResponse, options: ErrorResponseOptions): ServerResponse {
  const target = asServerResponse(response, call)
  checkNames(options, {
    owner: 'options.',
    names: ['dialect', 'exposeUpstreamErrors', 'requestId'],
    instead: { exposeDetails: 'exposeUpstreamErrors' },
  })
  const { dialect, exposeUpstreamErrors, requestId } = options
  if (dialect !== undefined) selectDialect(dialect)
  checkFlag('exposeUpstreamErrors', exposeUpstreamErrors)
  if (requestId !== undefined && typeof requestId !== 'string')
    throw new TypeError(`requestId must be a text, got ${shown(requestId)}`)
  return target
}

/** The parts of an error body. */
export interface ErrorBodyOptions {
  readonly message: string
  readonly dialect: StreamDialect
  readonly requestId: string | undefined
  /** Which pages may read the stream, and so the error. */
  readonly writer?: Pick<EventStreamHeadOptions, 'headers' | 'cors'>
}

/** Responds with status and JSON; the head must be unsent. */
export function sendErrorBody(
  response: ServerResponse,
  reason: StreamError,
  { message, dialect, requestId, writer }: ErrorBodyOptions,
): void {
  const body = JSON.stringify(dialect.errorBody(reason, message, requestId))
  for (const name of headersOfBody) response.removeHeader(name)
  const existing = new Map(Object.entries(response.getHeaders()))
  const cors = writer?.headers !== false && corsHeaders(response.req?.headers.origin, existing, writer?.cors)
  const headers = { ...errorHeaders(reason), ...cors }
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value)
  response.setHeader('content-length', Buffer.byteLength(body))
  if (reason.outcome === 'shutdown' && response.req?.httpVersionMajor === 1)
    response.setHeader('connection', 'close')
  discardUnreadBody(response)
  response.statusCode = reason.status
  // HTTP/2 has no reason phrase.
  if (response.req?.httpVersionMajor === 1) response.statusMessage = ''
  response.end(response.req?.method === 'HEAD' ? undefined : body)
}

/** The path as the client wrote it; Express keeps it apart from the part a router sees. */
export function requestPath(response: ServerResponse): string {
  const request = response.req as { originalUrl?: string; url?: string } | undefined
  return request?.originalUrl ?? request?.url ?? ''
}

/**
 * Returns whether the upstream closed the connection before its response was complete.
 *
 * The error may come from `node:http`, axios, fetch, undici, got or node-fetch, at any depth of the cause chain. An
 * abort by your own code is not a hang-up.
 *
 * @example
 * await fetch(url).catch((error) => {
 *   if (isSocketHangUp(error)) console.log('the upstream hung up')
 * })
 */
export function isSocketHangUp(error: unknown): boolean {
  return toStreamError(error).outcome === 'upstream_hangup'
}

/**
 * Reports an upstream's hang-up to the client: 503 `connection_reset` as JSON, or an error event and a clean end.
 *
 * @returns `false`, with nothing done, for any other error
 * @throws TypeError for an unknown dialect
 * @example
 * try {
 *   await fetch(url)
 * } catch (error) {
 *   if (!handleSocketHangUp(error, response)) throw error
 * }
 */
export function handleSocketHangUp(
  error: unknown,
  response: StreamResponse,
  options: ErrorResponseOptions = {},
): boolean {
  checkTarget('handleSocketHangUp(error, response)', response, options)
  const reason = toStreamError(error)
  if (reason.outcome !== 'upstream_hangup') return false
  log.hangup('%s', () => describeError(reason.cause ?? reason))
  respondWithError(reason, response, options)
  return true
}
