import type { IncomingMessage } from 'node:http'
import { attempt } from '../diagnostics/attempt.js'
import { checkFlag, checkNames, checkObject, shown } from '../errors/bad-input.js'
import { readDuration } from '../timeouts/options.js'

/** The fate of an upstream whose client has left. */
type OnDisconnect = 'keep' | 'cancel'

/**
 * How the guard treats the upstream calls of a handler, which it sees without a line in the handler.
 *
 * @example
 * app.use(guardStreams({ adopt: { onDisconnect: 'cancel' } }))
 */
export interface AdoptOptions {
  /**
   * Whether to keep or cancel the upstream when the client leaves, or a function of the request that decides. `'cancel'` saves
   * the tokens that the model would still generate. Do not use it where a stream is shared, or saved to its end.
   *
   * @defaultValue `'keep'`
   */
  onDisconnect?: OnDisconnect | ((request: IncomingMessage) => OnDisconnect) | undefined
  /**
   * Whether to cancel the upstream when a deadline has passed.
   *
   * @defaultValue `false`: an app that does not catch the rejection that this causes would end
   */
  release?: boolean | undefined
  /**
   * How long a handler may do nothing after its upstream has broken, in milliseconds. Then unhang reports the break. `false`:
   * it never does.
   *
   * @defaultValue `5_000`
   */
  breakMs?: number | false | undefined
}

/** How the upstream calls of a handler are adopted; `false`: not at all. */
export type AdoptOption = false | AdoptOptions | ((request: IncomingMessage) => false | AdoptOptions)

/** The options for one request, read once. */
export interface AdoptSettings {
  /** `undefined` if the app has not said. */
  readonly onDisconnect: AdoptOptions['onDisconnect']
  readonly release: boolean | undefined
  readonly breakMs: number
}

/** @throws TypeError that names the option and the value */
export function checkAdopt(adopt: AdoptOption | undefined): void {
  if (typeof adopt !== 'function') readAdopt(adopt)
}

/** @returns nothing if the calls of this request are not to be looked at */
export function adoptionOf(
  adopt: AdoptOption | undefined,
  request: IncomingMessage,
): AdoptSettings | undefined {
  if (typeof adopt !== 'function') return readAdopt(adopt)
  return attempt('adopt(request) failed, the defaults are used', defaults, () => readAdopt(adopt(request)))
}

/** A guard inside another one goes first, option by option. An option that the outer one has refused stays refused. */
export function refineAdopt(
  outer: AdoptOption | undefined,
  inner: AdoptOption | undefined,
): AdoptOption | undefined {
  const areObjects = typeof outer === 'object' && typeof inner === 'object'
  return areObjects ? { ...outer, ...inner } : (inner ?? outer)
}

const defaults: AdoptSettings = { onDisconnect: undefined, release: undefined, breakMs: 5_000 }

function readAdopt(adopt: false | AdoptOptions | undefined): AdoptSettings | undefined {
  if (adopt === undefined) return defaults
  if (adopt === false) return undefined
  checkObject('adopt', adopt, 'false, an object or a function')
  checkNames(adopt, { owner: 'adopt.', names: ['onDisconnect', 'release', 'breakMs'] })
  const { onDisconnect, release, breakMs = defaults.breakMs } = adopt
  if (typeof onDisconnect !== 'function') checkWord(onDisconnect)
  checkFlag('adopt.release', release)
  return { onDisconnect, release, breakMs: readDuration('adopt.breakMs', breakMs) }
}

function checkWord(onDisconnect: unknown): void {
  if (onDisconnect === undefined || onDisconnect === 'keep' || onDisconnect === 'cancel') return
  throw new TypeError(`adopt.onDisconnect must be 'keep', 'cancel' or a function, got ${shown(onDisconnect)}`)
}

export function cancelsOnDisconnect({ onDisconnect }: AdoptSettings, request: IncomingMessage): boolean {
  if (typeof onDisconnect !== 'function') return onDisconnect === 'cancel'
  return attempt('adopt.onDisconnect(request) failed, the upstream is kept', false, () => {
    const word = onDisconnect(request)
    checkWord(word)
    return word === 'cancel'
  })
}
