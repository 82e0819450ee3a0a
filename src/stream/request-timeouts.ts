import type { IncomingHttpHeaders } from 'node:http'
import { withinClientTimeout } from '../client/request-hints.js'
import type { StreamDialect } from '../dialects/dialect.js'
import type { Transcript } from '../dialects/transcript.js'
import { type ResolvedTimeouts, resolveTimeouts } from '../timeouts/options.js'
import { selectTimeoutProfile, timeoutProfiles } from '../timeouts/profiles.js'
import type { GivenOptions, StreamSettings } from './settings.js'

/** The facts that decide how long the stream of a request may take. */
export interface TimedRequest {
  readonly method: string | undefined
  readonly headers: IncomingHttpHeaders
  /** The parsed body; `undefined` if it has not been parsed. */
  readonly body: unknown
  readonly model: string | undefined
  /** Whether it asks for a stream. */
  readonly isWanted: boolean
}

const never = Number.POSITIVE_INFINITY
const unhurried = { firstByteMs: never, inactivityMs: never, totalMs: never }

/** The timeouts of one request: by its model, and never longer than its client waits. */
export function timeoutsFor(
  settings: StreamSettings,
  request: { model: string | undefined; headers: IncomingHttpHeaders; isUnhurried: boolean | undefined },
): ResolvedTimeouts {
  const { advancedModels } = settings
  const choice = { streaming: true, model: request.model }
  const fitting = selectTimeoutProfile(choice, advancedModels ? { advancedModels } : {})
  const profile = request.isUnhurried ? { ...fitting, ...unhurried } : fitting
  return withinClientTimeout(setTimeouts(settings, profile), request.headers)
}

/** The timeouts that were set, also by the guards around; the rest comes from the profile. */
function setTimeouts({ timeouts, given }: StreamSettings, profile: ResolvedTimeouts): ResolvedTimeouts {
  return layered({ timeouts, outer: given.outer }, profile)
}

function layered({ timeouts, outer }: GivenOptions, profile: ResolvedTimeouts): ResolvedTimeouts {
  return resolveTimeouts(timeouts, outer ? layered(outer, profile) : profile)
}

/** Whether timeouts have been set, be it by a guard around. */
function areTimeoutsSet({ timeouts, given }: StreamSettings): boolean {
  for (let outer = given.outer; outer; outer = outer.outer) if (outer.timeouts !== undefined) return true
  return timeouts !== undefined
}

/** The timeouts that fit a request. The model of an unread body is unknown: it may be one that thinks long. */
export function timeoutsOfRequest(
  settings: StreamSettings,
  { headers, body, model }: TimedRequest,
  { isUnhurried }: StreamDialect,
): ResolvedTimeouts {
  if (body !== undefined || isUnhurried) return timeoutsFor(settings, { model, headers, isUnhurried })
  return withinClientTimeout(setTimeouts(settings, timeoutProfiles.advanced), headers)
}

/**
 * The timeouts of its event stream. A page that subscribed with `GET` may wait for days: until the events show an API,
 * such a stream has no deadline but that of a client that does not read.
 */
export function timeoutsOfStream(
  settings: StreamSettings,
  request: TimedRequest,
  { dialect, isProven }: Transcript,
): ResolvedTimeouts {
  const isSet = areTimeoutsSet(settings) || settings.dialect !== undefined
  const isUnknown = dialect.name === 'plain' || (!isProven && !request.isWanted)
  const fitting = timeoutsOfRequest(settings, request, dialect)
  if (isSet || !isUnknown || request.method !== 'GET') return fitting
  return { ...resolveTimeouts(false, timeoutProfiles.streaming), clientStallMs: fitting.clientStallMs }
}
