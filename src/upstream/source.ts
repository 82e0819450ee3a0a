import type { Readable } from 'node:stream'
import { readHeader } from '../errors/classify.js'

/** The bytes of an upstream, as the HTTP clients of Node return them. */
export type UpstreamBody =
  | NodeJS.ReadableStream
  | ReadableStream<Uint8Array>
  | AsyncIterable<Uint8Array | string>

/**
 * A response of an upstream: a Fetch `Response`, an `IncomingMessage`, or what axios and `undici.request` resolve to.
 */
export type UpstreamResponse = Response | AxiosLikeResponse | UndiciLikeResponse

/** The result of a call of axios. */
interface AxiosLikeResponse {
  /** The HTTP status. */
  status: number
  /** By name, or with a method `get`. */
  headers: unknown
  /** With `responseType: 'stream'`. */
  data: UpstreamBody
}

/** The result of `undici.request`. */
interface UndiciLikeResponse {
  /** The HTTP status. */
  statusCode: number
  /** By name. */
  headers: unknown
  /** The bytes. */
  body: UpstreamBody
}

/** A response of an HTTP client, or the stream of bytes in it. */
export type UpstreamSource = UpstreamBody | UpstreamResponse

interface AnyResponse {
  status?: unknown
  statusCode?: unknown
  headers?: unknown
  body?: unknown
  data?: unknown
}

/**
 * Finds the body in the result of any HTTP client, and the head as far as it is known.
 *
 * @throws TypeError for anything but a response or a byte stream
 */
export function openSource(source: UpstreamSource) {
  const { status, statusCode, headers } = (source ?? {}) as AnyResponse
  const code = status ?? statusCode
  return {
    /** `undefined` for a response without one (a Fetch response to HEAD, or a 204). */
    body: findBody(source),
    // The rest is known only when the whole response was given, not its body alone.
    status: typeof code === 'number' ? code : undefined,
    contentType: readHeader(headers, 'content-type'),
    retryAfter: readHeader(headers, 'retry-after'),
    /** In milliseconds, as OpenAI and Azure say it. */
    retryAfterMs: readHeader(headers, 'retry-after-ms'),
    /** Whether the upstream itself advises another attempt. */
    shouldRetry: readHeader(headers, 'x-should-retry'),
  }
}

function findBody(source: UpstreamSource): UpstreamBody | undefined {
  if (isBody(source)) return source
  const { body, data } = (source ?? {}) as AnyResponse
  if (isBody(data)) return data
  if (isBody(body)) return body
  if (body === null) return undefined
  throw new TypeError(
    `expected a response or a byte stream, got ${describe(source)}` +
      (data === undefined ? '' : " (axios needs responseType: 'stream')"),
  )
}

function isBody(value: unknown): value is UpstreamBody {
  return isNodeReadable(value) || value instanceof ReadableStream || isAsyncIterable(value)
}

/** A Node stream, also one of a package that brings its own `readable-stream`: told by its methods. */
export function isNodeReadable(value: unknown): value is Readable {
  const stream = value as Partial<Readable> | null | undefined
  return typeof stream?.pipe === 'function' && typeof stream.read === 'function'
}

function isAsyncIterable(value: unknown): value is AsyncIterable<Uint8Array | string> {
  return typeof value === 'object' && value !== null && Symbol.asyncIterator in value
}

function describe(value: unknown): string {
  if (typeof value === 'string') return 'a string'
  if (typeof value !== 'object' || value === null) return String(value)
  return `an object with ${Object.keys(value).slice(0, 5).join(', ') || 'no members'}`
}
