/**
 * Checks one duration option. 0 is refused: it means "off" to some libraries and "at once" to others.
 *
 * @returns milliseconds, `Infinity` for `false`
 * @throws TypeError that names the option and the value
 */
export function readDuration(name: string, value: unknown): number {
  if (value === false) return Number.POSITIVE_INFINITY
  if (typeof value === 'number' && value > 0) return value
  const shown = typeof value === 'string' ? JSON.stringify(value) : String(value)
  throw new TypeError(`${name} must be a number of milliseconds above 0, or Infinity for never; got ${shown}`)
}
