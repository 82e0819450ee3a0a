import type { Debugger } from 'debug'
import { describeError } from './describe-error.js'

/** A value that takes work is given as a function: most of the time it is not needed. */
type Log = (format: string, ...values: unknown[]) => void

let debug: Promise<(namespace: string) => Debugger> | undefined

/**
 * A namespace of `debug`, which is loaded when there is something to show: it would be most of what `import 'unhang'`
 * costs. Both the environment and `debug.enable()` say so in `DEBUG`.
 *
 * @see https://github.com/debug-js/debug#usage
 */
export function debugLog(namespace: string): Log {
  let show: Log | undefined
  return (format, ...values) => {
    if (globalThis.process?.env?.DEBUG === undefined) return
    const shown = values.map((value) => shownOf(typeof value === 'function' ? value() : value))
    if (show) return show(format, ...shown)
    debug ??= import('debug').then((module) => module.default)
    debug.then(
      (open) => {
        show ??= open(namespace)
        show(format, ...shown)
      },
      // Without it there is nothing to show it with.
      () => {},
    )
  }
}

/** On one line, and of an error only what {@link describeError} shows: `debug` would print all that hangs on it. */
function shownOf(value: unknown): unknown {
  return typeof value === 'number' || typeof value === 'boolean' ? value : describeError(value)
}
