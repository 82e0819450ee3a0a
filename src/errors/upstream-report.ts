import { UpstreamError } from './upstream-error.js'

/** The HTTP statuses of the names in error objects of the usual APIs. */
const statusByName: readonly [RegExp, number][] = [
  [/^rate_limit|^insufficient_quota$|^too_many_requests$/, 429],
  [/^overloaded/, 529],
  [/^authentication_error$|^invalid_api_key$|^unauthorized$/, 401],
  [/^permission_error$|^forbidden$/, 403],
  [/^not_found_error$|^model_not_found$/, 404],
  [/^request_too_large$/, 413],
  [/^invalid_request/, 400],
  [/^timeout_error$/, 504],
]

interface ErrorObject {
  error?: unknown
  message?: unknown
  type?: unknown
  code?: unknown
  status?: unknown
  statusCode?: unknown
  /** In an event of OpenAI's Responses: the whole response. */
  response?: unknown
}

/**
 * The error that an upstream reported in a response that began as a good one: in an event, or as JSON.
 *
 * @param reported the JSON, parsed or not
 */
export function reportedError(reported: unknown): UpstreamError {
  const json = typeof reported === 'string' ? parse(reported) : reported
  const outer: ErrorObject = isObject(json) ? json : {}
  const inner = errorOf(outer)
  const { status, statusCode, code, type } = isObject(inner) ? inner : ({} as ErrorObject)
  const named = [status, statusCode, code, type, outer.status, outer.statusCode, outer.code, outer.type]
  const detail = isObject(outer.response) ? sentenceOf(outer.response) : sentenceOf(reported)
  return new UpstreamError({ status: named.map(statusOf).find(Boolean), detail })
}

/** Whether a JSON document that came in place of a stream reports an error: as one, or by nothing but its status. */
export function isErrorReport(json: object): boolean {
  const { error, status, statusCode, code } = json as ErrorObject
  return Boolean(error) || [status, statusCode, code].some((named) => statusOf(named) !== undefined)
}

function errorOf({ error, response }: ErrorObject): unknown {
  return error || !isObject(response) ? error : response.error
}

/** The sentence in an error body of any of the usual shapes, else all of it. */
export function sentenceOf(body: unknown): string | undefined {
  const json = typeof body === 'string' ? parse(body) : body
  if (isObject(json)) {
    const { error, message } = json
    const sentence = (isObject(error) ? error.message : error) ?? message
    if (typeof sentence === 'string') return sentence
  }
  return typeof body === 'string' ? body || undefined : jsonOf(body)
}

/** An error that is nested too deeply has no text. */
function jsonOf(value: unknown): string | undefined {
  try {
    return JSON.stringify(value)
  } catch {
    return undefined
  }
}

function statusOf(value: unknown): number | undefined {
  // A list becomes a number by way of its text, and one of many levels overflows the stack.
  const status = typeof value === 'object' ? Number.NaN : Number(value)
  if (Number.isInteger(status) && status >= 400 && status <= 599) return status
  return statusByName.find(([name]) => typeof value === 'string' && name.test(value))?.[1]
}

function isObject(value: unknown): value is ErrorObject {
  return typeof value === 'object' && value !== null
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
