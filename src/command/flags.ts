import { shown } from '../errors/bad-input.js'

/** One flag of a command: how it is written, what it means, and how its value is read. */
export interface Flag<T> {
  /** The placeholder of its value in the help; `undefined`: it takes no value. */
  readonly placeholder: string | undefined
  readonly help: string
  readonly fallback: T
  /** Whether it may be given several times. */
  readonly isList?: true
  /** @throws TypeError that says what the value must be */
  read(given: readonly string[]): T
}

/** The flags of a command, by their names in the code: `upstreamPort` is written `--upstream-port`. */
export type Flags = Readonly<Record<string, Flag<unknown>>>

/** The values of flags. */
export type Values<F extends Flags> = {
  readonly [Name in keyof F]: F[Name] extends Flag<infer T> ? T : never
}

/** A value of any kind that may be missing, such as a key. */
export function text(placeholder: string, help: string): Flag<string | undefined> {
  return { placeholder, help, fallback: undefined, read: (given) => given.at(-1) }
}

/** A flag that may be given several times; in the environment, one value a line. */
export function texts(placeholder: string, help: string): Flag<readonly string[]> {
  return { placeholder, help, fallback: [], isList: true, read: (given) => given }
}

/** A flag without a value; in the environment, `1` or `true`. */
export function toggle(help: string): Flag<boolean> {
  return {
    placeholder: undefined,
    help,
    fallback: false,
    read: (given) => {
      const last = given.at(-1) ?? ''
      if (/^(1|true)$/.test(last)) return true
      if (/^(0|false|)$/.test(last)) return false
      throw new TypeError(`must be 1 or 0, got ${shown(last)}`)
    },
  }
}

/** A port; 0 takes a free one. */
export function port<T extends number | undefined>(help: string, fallback: T): Flag<number | T> {
  return {
    placeholder: 'PORT',
    help: fallback === undefined ? help : `${help}; default: ${fallback}`,
    fallback,
    read: (given) => wholeNumber(given, 65_535, 'a port from 0 to 65535'),
  }
}

/** A duration in milliseconds; `false` switches it off, where that is possible. */
export function durationMs<T extends number | undefined>(
  help: string,
  fallback: T,
  canBeOff = false,
): Flag<number | T> {
  const shownDefault = fallback === Number.POSITIVE_INFINITY ? 'off' : fallback
  return {
    placeholder: 'MS',
    help: fallback === undefined ? help : `${help}; default: ${shownDefault}`,
    fallback,
    read: (given) => {
      if (canBeOff && given.at(-1) === 'false') return Number.POSITIVE_INFINITY
      const milliseconds = `milliseconds, a whole number from 1${canBeOff ? ', or false' : ''}`
      const value = wholeNumber(given, Number.MAX_SAFE_INTEGER, milliseconds)
      if (value === 0) throw new TypeError(`must be ${milliseconds}, got 0`)
      return value
    },
  }
}

/** One of several names. */
export function choice<Name extends string>(
  placeholder: string,
  help: string,
  names: readonly Name[],
  fallback: Name,
): Flag<Name> {
  return {
    placeholder,
    help: `${help}; default: ${fallback}`,
    fallback,
    read: (given) => {
      const found = names.find((name) => name === given.at(-1))
      if (found === undefined)
        throw new TypeError(`must be one of ${names.join(', ')}; got ${shown(given.at(-1))}`)
      return found
    },
  }
}

function wholeNumber(given: readonly string[], max: number, what: string): number {
  const last = given.at(-1) ?? ''
  const value = Number(last)
  if (/^\d+$/.test(last) && value <= max) return value
  throw new TypeError(`must be ${what}; got ${shown(last)}`)
}
