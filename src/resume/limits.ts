import { shown } from '../errors/bad-input.js'

/**
 * Reads how much of something is kept.
 *
 * @throws TypeError that names the option and the value
 */
export function readLimit(name: string, value: unknown): number {
  if (
    typeof value === 'number' &&
    value >= 1 &&
    (Number.isInteger(value) || value === Number.POSITIVE_INFINITY)
  )
    return value
  throw new TypeError(`${name} must be a whole number above 0, or Infinity; got ${shown(value)}`)
}
