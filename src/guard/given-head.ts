import type { OutgoingHttpHeader, OutgoingHttpHeaders, ServerResponse } from 'node:http'
import { connectionNames, withoutStream } from '../client/head.js'
import { framingOf } from '../framing/framings.js'

/** The arguments of `writeHead`. */
export interface GivenHead {
  status: number
  message: string | undefined
  headers: [string, OutgoingHttpHeader][]
}

/** The arguments of `writeHead`, in whichever of its forms. */
export function readHead(args: readonly unknown[]): GivenHead {
  const [status, second, third] = args
  const message = typeof second === 'string' ? second : undefined
  return {
    status: Number(status),
    message,
    headers: listHeaders(message === undefined ? (third ?? second) : third),
  }
}

/** Whether Node throws for a header over HTTP/2, which a handler copies that was written for HTTP/1. */
export function isForConnection(response: ServerResponse, name: string): boolean {
  return response.req.httpVersionMajor === 2 && connectionNames.includes(String(name).toLowerCase())
}

/** The same arguments of `writeHead`, without headers that HTTP/2 does not have. */
export function withoutConnectionHeaders(
  response: ServerResponse,
  args: readonly unknown[],
): readonly unknown[] {
  const { status, message, headers } = readHead(args)
  if (!headers.some(([name]) => isForConnection(response, name))) return args
  const allowed = Object.fromEntries(headers.filter(([name]) => !isForConnection(response, name)))
  return message === undefined ? [status, allowed] : [status, message, allowed]
}

/**
 * The kind of response that a head announces: `compressed` for an event stream with an encoding, `unknown` for one without a
 * `Content-Type` where a stream was asked for.
 */
export function kindOfHead(
  response: ServerResponse,
  { status, headers }: GivenHead,
  isWanted: boolean,
): 'stream' | 'compressed' | 'unknown' | 'other' {
  const isGood = status >= 200 && status <= 299 && !withoutStream.includes(status)
  if (!isGood || response.req.method === 'HEAD') return 'other'
  const type = headerOf('content-type', response, headers)
  if (type === undefined) return isWanted ? 'unknown' : 'other'
  if (!framingOf(type)) return 'other'
  const encoding = headerOf('content-encoding', response, headers)
  return encoding === undefined || encoding === 'identity' || encoding === '' ? 'stream' : 'compressed'
}

export function headerOf(
  wanted: string,
  response: ServerResponse,
  given?: GivenHead['headers'],
): OutgoingHttpHeader | undefined {
  return given?.findLast(([name]) => name.toLowerCase() === wanted)?.[1] ?? response.getHeader(wanted)
}

function listHeaders(headers: unknown): [string, OutgoingHttpHeader][] {
  if (typeof headers !== 'object' || headers === null) return []
  if (!Array.isArray(headers)) {
    return Object.entries(headers as OutgoingHttpHeaders).flatMap(([name, value]) =>
      value === undefined ? [] : [[name, value]],
    )
  }
  if (headers.every(Array.isArray)) return headers as [string, OutgoingHttpHeader][]
  const pairs: [string, OutgoingHttpHeader][] = []
  for (let at = 0; at + 1 < headers.length; at += 2) pairs.push([String(headers[at]), headers[at + 1]])
  return pairs
}
