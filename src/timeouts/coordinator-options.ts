import { checkFunction, checkNames, checkObject, checkSignal } from '../errors/bad-input.js'
import type { Clock } from './clock.js'
import {
  listOfProfiles,
  noSuchProfile,
  type ResolvedTimeouts,
  readDuration,
  timeoutNames,
} from './options.js'
import { type TimeoutProfileName, timeoutProfiles } from './profiles.js'

/** The options of {@link TimeoutCoordinator}. */
export interface TimeoutCoordinatorOptions {
  /** What an unset timeout falls back to; default the `streaming` profile. */
  defaults?: ResolvedTimeouts | TimeoutProfileName | undefined
  /** A signal of the caller's; when it aborts, the stream ends as `aborted`. */
  signal?: AbortSignal | undefined
  /**
   * Called before a deadline is enforced: what has become known of the request meanwhile may move it (`retime`)
   * or lift it (`finished`).
   */
  beforeTimeout?: (() => void) | undefined
  /** How long the client waits for its head, in milliseconds from the start: no attempt extends that. */
  headWithinMs?: number | undefined
  /** Default: the process' own. */
  clock?: Clock | undefined
}

const optionNames: readonly (keyof TimeoutCoordinatorOptions)[] = [
  'defaults',
  'signal',
  'beforeTimeout',
  'headWithinMs',
  'clock',
]

/**
 * @returns what unset timeouts fall back to
 * @throws TypeError that names the option and the value
 */
export function readCoordinatorOptions(options: TimeoutCoordinatorOptions): ResolvedTimeouts {
  checkNames(options, { owner: 'options.', names: optionNames })
  checkFunction('beforeTimeout', options.beforeTimeout)
  checkSignal('signal', options.signal)
  if (options.headWithinMs !== undefined) readDuration('headWithinMs', options.headWithinMs)
  return completeTimeouts(options.defaults)
}

/**
 * What unset timeouts fall back to: all of them must be there.
 *
 * @throws TypeError that names the timeout and its value
 */
function completeTimeouts(defaults: ResolvedTimeouts | TimeoutProfileName | undefined): ResolvedTimeouts {
  if (defaults === undefined) return timeoutProfiles.streaming
  if (typeof defaults === 'string' && Object.hasOwn(timeoutProfiles, defaults))
    return timeoutProfiles[defaults]
  if (typeof defaults === 'string') throw noSuchProfile('options.defaults', defaults)
  checkObject('options.defaults', defaults, `all timeouts or a profile (${listOfProfiles()})`)
  for (const name of timeoutNames) {
    const value = defaults[name]
    if (typeof value !== 'number') readDuration(`options.defaults.${name}`, value)
  }
  return defaults
}
