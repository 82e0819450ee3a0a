import type { StreamingHints, StreamingRequestLike } from '../client/detect-streaming-request.js'
import { checkHints, detectStreamingRequest } from '../client/detect-streaming-request.js'
import { modelOf } from '../client/request-hints.js'
import { warnOnce } from '../diagnostics/channels.js'
import { isObject } from '../dialects/dialect.js'
import { checkChoice, checkFunction, checkObject, shown } from '../errors/bad-input.js'
import { readHeader } from '../errors/classify.js'
import { readStreamOptions, type StreamOptions, type StreamSettings } from './settings.js'

/** The options of `createStreamMiddleware`, whichever the framework; `Context` is what its handlers get. */
export interface MiddlewareOptions<Context> extends Omit<StreamOptions, 'timeouts'> {
  /**
   * The deadlines, a profile by its name, `false` for none, or a function that picks them by the request.
   *
   * @defaultValue the `streaming` profile, or `advanced` for {@link StreamOptions.advancedModels}
   */
  timeouts?: StreamOptions['timeouts'] | ((context: Context) => StreamOptions['timeouts']) | undefined
  /** Which requests the handler gets: those that ask for a stream, or all of them. @defaultValue `'requested'` */
  when?: 'requested' | 'always' | undefined
  /**
   * How to recognise a streaming request whose body has not been parsed.
   *
   * @defaultValue chat completions by path, SillyTavern by user agent
   */
  detect?: StreamingHints | undefined
  /** Finds the requested model. @defaultValue `model` of the parsed body */
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
  if (typeof handler !== 'function') throw new TypeError(`handler must be a function, got ${shown(handler)}`)
  checkObject('options', options)
  const { timeouts, when, detect, model = (context) => modelOf(bodyOf(context)), ...rest } = options
  const isPicked = typeof timeouts === 'function'
  const settings = readStreamOptions(isPicked ? rest : { ...rest, timeouts }, ['when', 'detect', 'model'])
  const isAlways = checkWhen(when, ['requested', 'always']) === 'always'
  checkDetection(detect, "when: 'always'")
  checkFunction('model', model)
  const wantsStream = (context: Context) => {
    if (isAlways || detectStreamingRequest(context, detect)) return true
    if (isUnreadJson(context, bodyOf(context))) warnOnce(unreadJson)
    return false
  }
  return {
    wantsStream,
    settingsFor: (context) => (isPicked ? { ...settings, timeouts: timeouts(context) } : settings),
    modelOf: model,
  }
}

const unreadJson =
  'a POST with JSON passed a streaming route by, since no parser had read its body: mount one before the route, as ' +
  "express.json(), or write when: 'always'"

/** Express 4 puts an empty object on a request that no parser has read. */
function isUnreadJson({ method, headers }: StreamingRequestLike, body: unknown): boolean {
  const isUnread = body === undefined || (isObject(body) && Object.keys(body).length === 0)
  return (
    isUnread && method === 'POST' && /^application\/json\b/i.test(readHeader(headers, 'content-type') ?? '')
  )
}

/** @throws TypeError for anything but one of these */
export function checkWhen<When extends string>(when: When | undefined, known: readonly When[]): When {
  checkChoice('when', when, known)
  return when ?? (known[0] as When)
}

/**
 * @param instead what to write for `false`
 * @throws TypeError for anything but hints
 */
export function checkDetection(detect: unknown, instead: string): void {
  if (detect === undefined) return
  if (detect === false) throw new TypeError(`detect must be an object of hints, got false; write ${instead}`)
  checkObject('detect', detect, 'an object of hints')
  checkHints(detect as StreamingHints)
}
