import { warnOnce } from './channels.js'
import { describeError } from './describe-error.js'

/**
 * Asks a function of the app's, whose failure must not break a stream.
 *
 * @param failed what the warning says then
 * @param otherwise what counts then
 */
export function attempt<Result>(failed: string, otherwise: Result, ask: () => Result): Result {
  try {
    return ask()
  } catch (error) {
    warnOnce(`${failed}: ${describeError(error)}`)
    return otherwise
  }
}
