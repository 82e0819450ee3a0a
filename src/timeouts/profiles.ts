import { checkNames, shown } from '../errors/bad-input.js'
import type { ResolvedTimeouts } from './options.js'

const everyStream = {
  connectMs: 10_000,
  firstEventMs: Number.POSITIVE_INFINITY,
  upstreamStallMs: Number.POSITIVE_INFINITY,
  clientStallMs: 30_000,
}

/** The deadlines that apply where nothing is set, by the kind of request; all in milliseconds. */
export interface TimeoutProfiles {
  /** For a request that wants one JSON answer. */
  readonly standard: ResolvedTimeouts
  /** For a request that wants a stream. */
  readonly streaming: ResolvedTimeouts
  /** For a model that thinks before it answers. */
  readonly advanced: ResolvedTimeouts
}

/** The name of a profile in {@link timeoutProfiles}. */
export type TimeoutProfileName = keyof TimeoutProfiles

/**
 * The deadlines that apply where nothing is set, by the kind of request; all in milliseconds.
 *
 * @example
 * const { firstByteMs } = timeoutProfiles.advanced
 */
export const timeoutProfiles: TimeoutProfiles = {
  standard: { ...everyStream, firstByteMs: 30_000, inactivityMs: 30_000, totalMs: 60_000 },
  streaming: { ...everyStream, firstByteMs: 120_000, inactivityMs: 60_000, totalMs: 300_000 },
  advanced: { ...everyStream, firstByteMs: 300_000, inactivityMs: 120_000, totalMs: 600_000 },
}

/**
 * Patterns for the models that are known to think long, also after a `provider/`.
 *
 * @example
 * app.use(guardStreams({ advancedModels: [...advancedModels, 'my-slow-model'] }))
 */
export const advancedModels: readonly RegExp[] = [
  /(^|\/)o\d+(-|$)/i,
  /(^|\/)gpt-[5-9]/i,
  /(^|\/)claude-opus-/i,
  /(^|\/)gemini-[\d.]+-pro/i,
  /(^|\/)(deepseek-r\d|qwq|magistral)/i,
  /(think|reason)/i,
]

/** The facts in a request that decide about its profile. */
export interface TimeoutProfileRequest {
  /** Whether a stream was asked for. */
  streaming: boolean
  /** The model's name, if known. */
  model?: string | undefined
}

/**
 * Picks the deadlines of a request: `advanced` for a model that thinks long, else `streaming` or `standard`.
 *
 * @param options.advancedModels the models that count as advanced, by exact name or pattern; default
 *   {@link advancedModels}
 * @returns every timeout in milliseconds; `Infinity` for one that is off
 * @example
 * const { totalMs } = selectTimeoutProfile({ streaming: true, model: 'o3' })
 */
export function selectTimeoutProfile(
  request: TimeoutProfileRequest,
  options: { advancedModels?: readonly (string | RegExp)[] | undefined } = {},
): ResolvedTimeouts {
  checkNames(request, { owner: 'request.', names: ['streaming', 'model'], instead: { stream: 'streaming' } })
  checkNames(options, { owner: 'options.', names: ['advancedModels'] })
  checkModels(options.advancedModels)
  const { streaming, model } = request
  const advanced = options.advancedModels ?? advancedModels
  // It may come from a client: only text is a model.
  const isAdvanced = typeof model === 'string' && advanced.some((known) => isNamed(known, model))
  if (isAdvanced) return timeoutProfiles.advanced
  return streaming ? timeoutProfiles.streaming : timeoutProfiles.standard
}

/** @throws TypeError for anything but a list of names and patterns; `undefined` means not set */
export function checkModels(models: unknown): void {
  const isModel = (each: unknown) => typeof each === 'string' || each instanceof RegExp
  if (models === undefined || (Array.isArray(models) && models.every(isModel))) return
  throw new TypeError(`advancedModels must be a list of names and patterns, got ${shown(models)}`)
}

/** Whether a text is the known one, or fits the known pattern. */
export function isNamed(known: string | RegExp, text: string): boolean {
  // search() keeps no lastIndex: a caller's /…/g pattern gives the same result every time.
  return typeof known === 'string' ? known === text : text.search(known) !== -1
}
