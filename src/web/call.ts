import { isPlainId } from '../client/request-id.js'
import { checkObject, checkSignal, shown } from '../errors/bad-input.js'
import { guards } from '../registry.js'
import { withDefaults } from '../stream/inherited-settings.js'
import type { StreamOptions, StreamSettings } from '../stream/settings.js'
import type { SettledListener } from '../timeouts/stream-clock.js'

/** The options of a fetch handler about the request that it responds to. */
export interface WebCall {
  /**
   * The request that is being responded to. It names the API, and it says when the client leaves. Not set: the client has
   * left when its server cancels the body.
   */
  request?: Request | undefined
  /** Ends the stream as `aborted`, which is reported to the client. Not set: only unhang ends the stream early. */
  signal?: AbortSignal | undefined
  /** The requested model: it picks the timeouts, and goes into the record. Not set: it is unknown. */
  model?: string | undefined
  /**
   * The id of the stream: letters, digits, dots and dashes.
   *
   * @defaultValue the request's `x-request-id` if it is a plain one, else a new id
   */
  requestId?: string | undefined
}

/** Splits what is said of the request from the options of its stream. @throws TypeError that names the option and the value */
export function splitCall<Options extends StreamOptions>(
  options: Options & WebCall,
): { call: WebCall; options: Omit<Options, keyof WebCall> } {
  checkObject('options', options)
  const { request, signal, model, requestId, ...own } = options
  if (request !== undefined) checkRequest('request', request)
  else if (own.resume) throw new TypeError('resume needs the option request, which says whose stream it is')
  checkSignal('signal', signal)
  if (model !== undefined && typeof model !== 'string')
    throw new TypeError(`model must be a text, got ${shown(model)}`)
  if (requestId !== undefined && !isPlainId(requestId)) {
    throw new TypeError(`requestId must be letters, digits, dots, dashes; got ${shown(requestId)}`)
  }
  return { call: { request, signal, model, requestId }, options: own }
}

/** Takes the response over from the guard around its request, whose options are the defaults. */
export function takeOver(
  own: WebCall,
  settings: StreamSettings,
): { call: WebCall; settings: StreamSettings; onSettled: SettledListener | undefined } {
  const guard = own.request && guards().get(own.request)
  const onSettled = guard?.handOver?.()
  const call = { ...own, requestId: own.requestId ?? guard?.requestId }
  return { call, settings: withDefaults(settings, guard?.options), onSettled }
}

/** @throws TypeError for anything but a request of a fetch handler */
export function checkRequest(what: string, value: unknown): void {
  if (isRequest(value)) return
  const inner = (['raw', 'request', 'req'] as const).find((name) => isRequest(Object(value)[name]))
  const hint = inner === undefined ? '' : `; did you mean its .${inner}?`
  throw new TypeError(`${what} must be a Request, got ${shown(value)}${hint}`)
}

export function isRequest(value: unknown): value is Request {
  const { method, url, headers } = Object(value) as Partial<Request>
  return typeof method === 'string' && typeof url === 'string' && typeof headers?.get === 'function'
}
