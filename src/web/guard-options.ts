import type { StreamingHints } from '../client/detect-streaming-request.js'
import { warnOnce } from '../diagnostics/channels.js'
import { describeError } from '../diagnostics/describe-error.js'
import { checkFunction, checkObject } from '../errors/bad-input.js'
import { checkDetection, checkWhen } from '../stream/middleware-options.js'
import type { StreamOptions, StreamSettings } from '../stream/settings.js'
import { resolveTimeouts } from '../timeouts/options.js'
import { timeoutProfiles } from '../timeouts/profiles.js'
import { type GuardResponseOptions, readGuarding } from './guard-response.js'

/**
 * The options of a guard around fetch handlers; `Context` is what its functions get.
 *
 * @example
 * const options: WebGuardOptions = { timeouts: 'advanced', skip: ({ url }) => url.endsWith('/health') }
 */
export interface WebGuardOptions<Context = Request> extends Omit<StreamOptions, 'writer' | 'timeouts'> {
  /**
   * The deadlines, a profile by its name, `false` for none, or a function that picks them by the request.
   *
   * @defaultValue the `streaming` profile, or `advanced` for {@link StreamOptions.advancedModels}
   */
  timeouts?: StreamOptions['timeouts'] | ((context: Context) => StreamOptions['timeouts']) | undefined
  /** Leaves a request alone for which it returns `true`: its response is not guarded. Not set: every response is. */
  skip?: ((context: Context) => boolean) | undefined
  /** How the response is completed. @defaultValue the defaults of `SSEWriterOptions` */
  writer?: GuardResponseOptions['writer']
  /**
   * When a response is guarded. `'requested'`: from a request on that asks for a stream. `'responds'`: once the
   * response is an event stream.
   *
   * @defaultValue `'requested'`
   */
  when?: 'requested' | 'responds' | undefined
  /**
   * How to recognise a streaming request whose body has not been parsed.
   *
   * @defaultValue chat completions by path, SillyTavern by user agent
   */
  detect?: StreamingHints | undefined
}

/** The options of a guard around fetch handlers, read once. */
export interface WebGuardSettings<Context> {
  readonly when: 'requested' | 'responds'
  readonly detect: StreamingHints | undefined
  isSkipped(context: Context): boolean
  settingsFor(context: Context): StreamSettings
}

/** @throws TypeError | RangeError that names the option and the value */
export function readWebGuard<Context>(options: WebGuardOptions<Context>): WebGuardSettings<Context> {
  checkObject('options', options)
  const { when, detect, skip, timeouts, ...rest } = options
  const pick = typeof timeouts === 'function' ? timeouts : undefined
  const settings = readGuarding({ ...rest, ...(typeof timeouts !== 'function' && { timeouts }) })
  checkFunction('skip', skip)
  checkDetection(detect, "when: 'responds'")
  return {
    when: checkWhen(when, ['requested', 'responds']),
    detect,
    isSkipped: (context) => attempt('skip', () => skip?.(context)) === true,
    settingsFor(context) {
      const picked = attempt('timeouts', () => {
        const chosen = pick?.(context)
        resolveTimeouts(chosen, timeoutProfiles.streaming)
        return chosen
      })
      if (picked === undefined) return settings
      return { ...settings, timeouts: picked, given: { ...settings.given, timeouts: picked } }
    },
  }
}

/** A function of the app's that fails must not cost the client its response. */
function attempt<Result>(name: string, ask: () => Result): Result | undefined {
  try {
    return ask()
  } catch (error) {
    warnOnce(`${name}(request) failed, it counts as not set: ${describeError(error)}`)
    return undefined
  }
}
