import { type Cause, causeChain, textOf } from './cause-chain.js'
import type { FailedOutcome, TimeoutPhase } from './outcomes.js'
import { isStreamError, StreamError, StreamTimeoutError } from './stream-error.js'
import { UpstreamError } from './upstream-error.js'

/**
 * Turns any thrown value into a {@link StreamError}: by error code along the cause chain, by message only
 * where a client gives no code (undici's "terminated", axios' "aborted").
 *
 * @param error the thrown value
 * @param fallback the outcome of an error that says nothing about itself; default `internal`
 */
export function toStreamError(error: unknown, fallback: FailedOutcome = 'internal'): StreamError {
  if (isStreamError(error)) return error
  const chain = causeChain(error)
  for (const { thrown } of chain) if (isStreamError(thrown)) return thrown
  const refused = chain[0] && asRefusal(chain[0])
  if (refused) return refused
  const responded = chain.map(responseOfUpstream).find(Boolean)
  if (responded) return responded
  // The deepest link is the system's own error. The links around it are a client's.
  for (const link of chain.reverse()) {
    const found = classify(link)
    if (found) return found(error)
  }
  return new StreamError(fallback, { cause: error })
}

type Build = (cause: unknown) => StreamError

function build(outcome: FailedOutcome, options: { status?: number; retryable?: boolean } = {}): Build {
  return (cause) => new StreamError(outcome, { ...options, cause })
}

function timeout(phase: TimeoutPhase): Build {
  return (cause) => new StreamTimeoutError(phase, undefined, cause)
}

const unreachable = build('upstream_connect')
const untrusted = build('upstream_connect', { status: 502, retryable: false })
const hangUp = build('upstream_hangup')
const garbled = build('upstream_protocol')
const aborted = build('aborted')

const byCode: Record<string, Build> = {
  ...all(unreachable, 'ENOTFOUND EAI_AGAIN EAI_NODATA'),
  ...all(unreachable, 'ECONNREFUSED EHOSTUNREACH ENETUNREACH ENETDOWN EADDRNOTAVAIL'),
  ...all(
    garbled,
    'UND_ERR_HEADERS_OVERFLOW HPE_HEADER_OVERFLOW ERR_FR_TOO_MANY_REDIRECTS ERR_TOO_MANY_REDIRECTS',
  ),
  ...all(timeout('connect'), 'UND_ERR_CONNECT_TIMEOUT ERR_SOCKET_CONNECTION_TIMEOUT'),
  ...all(timeout('firstByte'), 'UND_ERR_HEADERS_TIMEOUT ESOCKETTIMEDOUT ETIMEDOUT'),
  ...all(timeout('inactivity'), 'UND_ERR_BODY_TIMEOUT'),
  ...all(garbled, 'ERR_HTTP2_PROTOCOL_ERROR ERR_HTTP2_FRAME_ERROR'),
  ...all(hangUp, 'ECONNRESET EPIPE ECONNABORTED UND_ERR_SOCKET ERR_STREAM_PREMATURE_CLOSE'),
  ...all(hangUp, 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH ERR_HTTP_CONTENT_LENGTH_MISMATCH'),
  ...all(hangUp, 'ERR_HTTP2_STREAM_ERROR ERR_HTTP2_STREAM_CANCEL ERR_HTTP2_SESSION_ERROR'),
  ...all(hangUp, 'ERR_HTTP2_GOAWAY_SESSION ERR_HTTP2_INVALID_SESSION ERR_HTTP2_INVALID_STREAM'),
  ...all(aborted, 'ABORT_ERR ERR_CANCELED ERR_ABORTED UND_ERR_ABORTED'),
  ...all(build('shutdown'), 'UND_ERR_DESTROYED UND_ERR_CLOSED'),
}

const byCodePattern: [RegExp, Build][] = [
  [/^(EPROTO|ERR_TLS_.*|ERR_SSL_.*|CERT_.*|.*_CERT.*|UNABLE_TO_.*|SELF_SIGNED.*|DEPTH_ZERO_.*)$/, untrusted],
  [/^(HPE_.*|Z_.*|ERR__ERROR_FORMAT.*|ERR_BROTLI.*|ERR_PADDING.*)$/, garbled],
]

/**
 * Errors without a code. fetch, undici, node-fetch and follow-redirects give none to redirects that they followed in vain,
 * and Deno gives none at all.
 */
const byMessage: [RegExp, Build][] = [
  [
    /redirect (count exceeded|loop detected)|too many redirects|max(imum( number of)?)? redirects?\b/i,
    garbled,
  ],
  [/client error \(Connect\)|error trying to connect/, unreachable],
  [/message head is too large/, garbled],
  [/connection reset by peer|forcibly closed by the remote host|connection closed before message/i, hangUp],
  [/^error reading a body from connection/, hangUp],
]

const byName: Record<string, Build> = {
  TimeoutError: timeout('total'),
  AbortError: aborted,
  HTTPParserError: garbled,
}

function all(found: Build, codes: string): Record<string, Build> {
  return Object.fromEntries(codes.split(' ').map((code) => [code, found]))
}

function classify(link: Cause): Build | undefined {
  const { code, name, message, syscall } = link
  if (link.isAxiosError === true) {
    if (code === 'ECONNABORTED' && message !== 'aborted') return timeout('firstByte')
    if (code === 'ERR_BAD_RESPONSE' && /aborted/.test(textOf(message))) return hangUp
  }
  if (typeof code === 'string') {
    // No connection was begun: this process, or the machine, has none left.
    if (syscall === 'connect' && /^E(MFILE|NFILE|NOBUFS|NOMEM)$/.test(code)) return unreachable
    // The system's word on a connection: one that was being made, or one that had been at work.
    if (typeof syscall === 'string' && /^E(TIMEDOUT|HOSTUNREACH|NETUNREACH|NETDOWN)$/.test(code)) {
      if (syscall !== 'connect') return hangUp
      return code === 'ETIMEDOUT' ? timeout('connect') : unreachable
    }
    if (Object.hasOwn(byCode, code)) return byCode[code]
    const matched = byCodePattern.find(([pattern]) => pattern.test(code))
    if (matched) return matched[1]
  }
  if (typeof name === 'string' && Object.hasOwn(byName, name)) return byName[name]
  if (name === 'TypeError' && message === 'terminated') return hangUp
  if (name === 'MaxRedirectsError') return garbled
  if (typeof message === 'string') return byMessage.find(([pattern]) => pattern.test(message))?.[1]
  return undefined
}

/** axios, got and the OpenAI SDK throw for a status of 400 and more: the upstream did respond. */
function responseOfUpstream(link: Cause): UpstreamError | undefined {
  const { response } = link
  const answer = causeChain(response)[0] ?? link
  const status = answer.status ?? answer.statusCode
  if (typeof status !== 'number' || status < 400 || typeof answer.headers !== 'object') return undefined
  return new UpstreamError({
    status,
    retryAfter: readHeader(answer.headers, 'retry-after'),
    cause: link.thrown,
  })
}

/** An error of the `http-errors` kind whose author said that a client may read it. */
function asRefusal({ thrown, expose, status, statusCode, message, code }: Cause): StreamError | undefined {
  const refusal = status ?? statusCode
  if (expose !== true || typeof refusal !== 'number' || refusal < 400 || refusal > 599) return undefined
  return new StreamError('internal', {
    status: Math.trunc(refusal),
    message: textOf(message),
    code: typeof code === 'string' ? code : 'invalid_request',
    cause: thrown,
  })
}

/** One header of a Node header object or a Fetch `Headers`. */
export function readHeader(headers: unknown, name: string): string | undefined {
  if (typeof headers !== 'object' || headers === null) return undefined
  try {
    const value =
      'get' in headers && typeof headers.get === 'function'
        ? headers.get(name)
        : (headers as Record<string, unknown>)[name]
    return typeof value === 'string' ? value : undefined
  } catch {
    return undefined
  }
}
