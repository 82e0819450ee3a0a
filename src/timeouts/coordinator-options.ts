import { checkFunction, checkNames, checkSignal } from '../errors/bad-input.js'
import { checkProfile, type ResolvedTimeouts, readDuration, timeoutNames } from './options.js'
import { type TimeoutProfileName, timeoutProfiles } from './profiles.js'

/**
 * The options of {@link TimeoutCoordinator}.
 *
 * @example
 * const timeouts = new TimeoutCoordinator({ totalMs: 20_000 }, { defaults: timeoutProfiles.standard })
 */
export interface TimeoutCoordinatorOptions {
  /** The timeouts that replace unset ones. @defaultValue the `streaming` profile */
  defaults?: ResolvedTimeouts | TimeoutProfileName | undefined
  /** Ends the stream as `aborted`. Not set: only deadlines and `settle()` end it. */
  signal?: AbortSignal | undefined
  /**
   * Called before a deadline is enforced, to move it (`retime`) or to lift it (`finished`). Not set: nothing is called.
   */
  beforeTimeout?: (() => void) | undefined
}

const optionNames: readonly (keyof TimeoutCoordinatorOptions)[] = ['defaults', 'signal', 'beforeTimeout']

/**
 * @returns what unset timeouts fall back to
 * @throws TypeError that names the option and the value
 */
export function readCoordinatorOptions(options: TimeoutCoordinatorOptions): ResolvedTimeouts {
  checkNames(options, { owner: 'options.', names: optionNames })
  checkFunction('beforeTimeout', options.beforeTimeout)
  checkSignal('signal', options.signal)
  const { defaults } = options
  if (defaults === undefined) return timeoutProfiles.streaming
  if (typeof defaults === 'string' && Object.hasOwn(timeoutProfiles, defaults))
    return timeoutProfiles[defaults]
  checkProfile('options.defaults', defaults, 'all timeouts or')
  // All of them must be there.
  const durations = timeoutNames.map((name) => [
    name,
    readDuration(`options.defaults.${name}`, defaults[name]),
  ])
  return Object.fromEntries(durations)
}
