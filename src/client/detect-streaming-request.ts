import { checkNames, checkObject, shown } from '../errors/bad-input.js'
import { readHeader } from '../errors/classify.js'
import { isNamed } from '../timeouts/profiles.js'

/** The parts of a request that {@link detectStreamingRequest} reads: of Express, Koa, `node:http` or Fetch. */
export interface StreamingRequestLike {
  /** The HTTP method in capitals, as every framework has it. */
  method?: string | undefined
  /** The path and query; in a Fetch request the whole URL. */
  url?: string | undefined
  /** The path that a router has left over. */
  path?: string | undefined
  /** The URL before a router took its part off. */
  originalUrl?: string | undefined
  /** Node's header object, or Fetch `Headers`. */
  headers?: object | undefined
  /** The parsed body. Raw text, buffers and streams are ignored. */
  body?: unknown
  /** Koa's own request, which holds the parsed body. */
  request?: unknown
}

/**
 * Hints for streaming requests whose body has not been parsed.
 *
 * @example
 * app.use(guardStreams({ detect: { paths: ['/api/chat', /\/generate$/] } }))
 */
export interface StreamingHints {
  /**
   * Paths on which a `POST` with an unparsed body counts as a streaming request. A text must equal the path.
   *
   * @defaultValue `[/\/chat\/completions\/?$/]`
   */
  paths?: readonly (string | RegExp)[] | undefined
  /**
   * User agents whose requests count as streaming requests while the body is unparsed.
   *
   * @defaultValue `[/\bSillyTavern\b/i]`
   */
  userAgents?: readonly (string | RegExp)[] | undefined
}

const defaultPaths: readonly RegExp[] = [/\/chat\/completions\/?$/]
const defaultUserAgents: readonly RegExp[] = [/\bSillyTavern\b/i]
const streamTypes = ['text/event-stream', 'application/x-ndjson']

/**
 * Returns whether a request asks for a stream, without consuming its body.
 *
 * The first of these decides: `stream` in the parsed body; `alt=sse` or `:streamGenerateContent` in the URL, as in
 * Gemini's API; a parsed body without `stream` (no stream, but for Ollama's `/api/chat` and `/api/generate`); the
 * `Accept` header; the hints.
 *
 * @see https://platform.openai.com/docs/api-reference/chat/create (`stream`, default false)
 * @see https://www.rfc-editor.org/rfc/rfc9110#name-accept
 * @example
 * if (detectStreamingRequest(request)) console.log('the client wants a stream')
 */
export function detectStreamingRequest(request: StreamingRequestLike, hints?: StreamingHints): boolean {
  checkObject('detectStreamingRequest(request): request', request)
  if (hints !== undefined) checkHints(hints)
  return wantsStream(request, hints)
}

function wantsStream(request: StreamingRequestLike, hints: StreamingHints = {}): boolean {
  const inner = request.request as StreamingRequestLike | undefined
  const isKoa = typeof inner === 'object' && inner !== null
  if (isKoa && !request.headers) return wantsStream(inner, hints)
  // In Koa `ctx.body` is the response.
  const body = parsedBody(isKoa ? inner.body : request.body)
  if (body && Object.hasOwn(body, 'stream') && typeof body.stream === 'boolean') return body.stream
  const { path, query } = location(request)
  if ((query !== '' && /(^|&)alt=sse(&|$)/.test(query)) || path.endsWith(':streamGenerateContent'))
    return true
  if (body) return isOllama(path, body)
  const accepted = acceptsStream(header(request, 'accept'))
  if (accepted !== undefined) return accepted
  const { paths = defaultPaths, userAgents = defaultUserAgents } = hints
  if (request.method === 'POST' && paths.some((known) => isNamed(known, path))) return true
  const agent = header(request, 'user-agent')
  return (
    agent !== undefined &&
    userAgents.some((known) => (typeof known === 'string' ? agent.includes(known) : isNamed(known, agent)))
  )
}

/** Ollama streams unless the request says otherwise. */
function isOllama(path: string, { model, messages, prompt }: ParsedBody): boolean {
  const isAsked = typeof model === 'string' && (Array.isArray(messages) || typeof prompt === 'string')
  return isAsked && /\/api\/(chat|generate)\/?$/.test(path)
}

/** @throws TypeError that names the hint and the value */
export function checkHints(hints: StreamingHints): void {
  checkNames(hints, { owner: 'detect.', names: ['paths', 'userAgents'] })
  for (const [name, list] of Object.entries(hints)) {
    const isList =
      Array.isArray(list) && list.every((each) => typeof each === 'string' || each instanceof RegExp)
    if (list === undefined || isList) continue
    throw new TypeError(`detect.${name} must be a list of texts and patterns, got ${shown(list)}`)
  }
}

interface ParsedBody {
  stream?: unknown
  model?: unknown
  messages?: unknown
  prompt?: unknown
}

/** Only what some parser made of a body. An empty object says nothing: Express 4 puts one on every request. */
function parsedBody(body: unknown): ParsedBody | undefined {
  if (typeof body !== 'object' || body === null || ArrayBuffer.isView(body)) return undefined
  if ('pipe' in body || 'getReader' in body || Object.keys(body).length === 0) return undefined
  return body
}

function header({ headers }: StreamingRequestLike, name: string): string | undefined {
  return readHeader(headers, name)?.slice(0, maxHeader)
}

const maxHeader = 4096

/**
 * `true` or `false` only if the header names a stream type: `q=0` refuses it.
 *
 * @see https://www.rfc-editor.org/rfc/rfc9110#name-accept
 */
function acceptsStream(accept: string | undefined): boolean | undefined {
  if (!accept) return undefined
  let refused: boolean | undefined
  let best = 0
  let bestOther = 0
  for (const range of accept.split(',')) {
    const [type = '', ...parameters] = range.split(';').map((part) => part.trim().toLowerCase())
    const weight = parameters.find((parameter) => parameter.startsWith('q='))
    const quality = weight === undefined ? 1 : Number(weight.slice(2)) || 0
    if (!streamTypes.includes(type)) {
      if (!type.includes('*')) bestOther = Math.max(bestOther, quality)
      continue
    }
    if (quality === 0) refused = true
    best = Math.max(best, quality)
  }
  if (best > 0) return best >= bestOther
  return refused ? false : undefined
}

function location({ originalUrl, url, path }: StreamingRequestLike): { path: string; query: string } {
  const target = originalUrl ?? url ?? path ?? ''
  const local = target.startsWith('/') ? target : target.replace(/^[a-z]+:\/\/[^/?#]*/i, '')
  const mark = local.indexOf('?')
  if (mark === -1) return { path: local, query: '' }
  return { path: local.slice(0, mark), query: local.slice(mark + 1) }
}
