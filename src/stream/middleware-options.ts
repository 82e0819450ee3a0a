import {
  detectStreamingRequest,
  type StreamingHints,
  type StreamingRequestLike,
} from '../client/detect-streaming-request.js'
import { modelOf } from '../client/request-hints.js'
import type { StreamTimeouts } from '../timeouts/options.js'
import { readStreamOptions, type StreamOptions, type StreamSettings } from './settings.js'

/** The options of `createStreamMiddleware`, whichever the framework; `Context` is what its handlers get. */
export interface MiddlewareOptions<Context> extends Omit<StreamOptions, 'timeouts'> {
  /** Timeouts, `false` for none, or a function that picks them by the request. Default: by the model. */
  timeouts?: StreamTimeouts | false | ((context: Context) => StreamTimeouts | false | undefined) | undefined
  /** What counts as a streaming request while the body is unread; `false`: every request streams. */
  detect?: StreamingHints | false | undefined
  /** Finds the requested model. Default: `model` of the parsed body. */
  model?: ((context: Context) => string | undefined) | undefined
}

/** The options, checked once and ready to be asked for every request. */
export interface CheckedMiddleware<Context> {
  wantsStream(context: Context): boolean
  /** @throws TypeError | RangeError for timeouts that a function of the app gives */
  settingsFor(context: Context): StreamSettings
  modelOf(context: Context): string | undefined
}

/** @throws TypeError | RangeError that names the option and the value */
export function checkMiddleware<Context extends StreamingRequestLike>(
  handler: unknown,
  options: MiddlewareOptions<Context>,
  bodyOf: (context: Context) => unknown,
): CheckedMiddleware<Context> {
  if (typeof handler !== 'function') throw new TypeError(`handler must be a function, got ${String(handler)}`)
  if (typeof options !== 'object' || options === null) {
    throw new TypeError(`options must be an object, got ${String(options)}`)
  }
  const { timeouts, detect, model = (context) => modelOf(bodyOf(context)), ...rest } = options
  const isPicked = typeof timeouts === 'function'
  const settings = readStreamOptions(isPicked ? rest : { ...rest, timeouts }, ['detect', 'model'])
  checkDetection(detect)
  if (typeof model !== 'function') throw new TypeError(`model must be a function, got ${String(model)}`)
  return {
    wantsStream: (context) => detect === false || detectStreamingRequest(context, detect),
    settingsFor: (context) => (isPicked ? { ...settings, timeouts: timeouts(context) } : settings),
    modelOf: model,
  }
}

/** @throws TypeError for anything but hints or `false` */
export function checkDetection(detect: unknown): void {
  if (detect === undefined || detect === false || (typeof detect === 'object' && detect !== null)) return
  throw new TypeError(`detect must be an object of hints or false, got ${String(detect)}`)
}
