import type { OutgoingHttpHeader, OutgoingHttpHeaders, ServerResponse } from 'node:http'

/** The methods of a response that the guard stands in front of. */
export type ResponseMethods = Pick<ServerResponse, 'writeHead' | 'write' | 'end' | 'destroy'>

const names = ['writeHead', 'write', 'end', 'destroy'] as const
const headerNames = ['setHeader', 'setHeaders', 'appendHeader', 'removeHeader', 'flushHeaders'] as const

/** A response's own methods, each bound to it, and which of them somebody had intercepted before. */
export interface OwnMethods extends ResponseMethods {
  readonly intercepted: ReadonlyMap<string, unknown>
}

/** Puts methods in front of a response's own, which are returned. */
export function interceptResponse(response: ServerResponse, methods: ResponseMethods): OwnMethods {
  const intercepted = new Map(
    names.flatMap((name) => (Object.hasOwn(response, name) ? [[name, response[name]] as const] : [])),
  )
  const own = {
    intercepted,
    writeHead: response.writeHead.bind(response),
    write: response.write.bind(response),
    end: response.end.bind(response),
    destroy: response.destroy.bind(response),
  } as OwnMethods
  Object.assign(response, methods)
  return own
}

/** Takes methods away again, unless somebody has put theirs in front meanwhile (they call ours). */
export function restoreResponse(response: ServerResponse, methods: ResponseMethods, own: OwnMethods): void {
  for (const name of names) {
    if (response[name] !== methods[name]) continue
    delete (response as Partial<ServerResponse>)[name]
    if (own.intercepted.has(name)) Object.assign(response, { [name]: own.intercepted.get(name) })
  }
}

/**
 * The response has been answered for a handler that does not know it yet: what it still says must neither be
 * sent nor throw, since what a late handler throws ends the process.
 */
export function silenceHeaders(response: ServerResponse): void {
  for (const name of headerNames) {
    if (typeof response[name as 'setHeader'] === 'function')
      Object.assign(response, { [name]: () => response })
  }
}

/** The arguments of `writeHead`, in whichever of its forms. */
export function readHead(args: readonly unknown[]): {
  status: number
  message: string | undefined
  headers: [string, OutgoingHttpHeader][]
} {
  const [status, second, third] = args
  const message = typeof second === 'string' ? second : undefined
  return {
    status: Number(status),
    message,
    headers: listHeaders(message === undefined ? (third ?? second) : third),
  }
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
