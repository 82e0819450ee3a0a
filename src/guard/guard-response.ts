import type { IncomingMessage, ServerResponse } from 'node:http'
import { attempt } from '../diagnostics/attempt.js'
import { type Guarded, guards } from '../registry.js'
import { resolveTimeouts } from '../timeouts/options.js'
import { timeoutProfiles } from '../timeouts/profiles.js'
import { ResponseGuard } from './guard.js'

import type { GuardSettings } from './request.js'

/** The guard around a response: there is only ever one, of whichever copy of the library. */
export function guardResponse(
  request: IncomingMessage,
  response: ServerResponse,
  settings: GuardSettings,
): Guarded {
  const known = guards().get(response)
  if (isSkipped(request, settings)) {
    known?.stepAside()
    return known ?? unguarded
  }
  if (!known) return new ResponseGuard(request, response, settingsFor(request, settings)).handle
  if (!settings.areDefaults) known.refine(settingsFor(request, settings).given)
  return known
}

function isSkipped(request: IncomingMessage, { skip }: GuardSettings): boolean {
  return attempt('skip(request) failed, the response is guarded', false, () => skip?.(request) === true)
}

/** A response that nothing is done to. */
const unguarded: Guarded = {
  requestId: '',
  signal: new AbortController().signal,
  refused: false,
  options: undefined,
  refine() {},
  readBodyFrom() {},
  stepAside() {},
  enter: (work) => work(),
  respond: () => false,
  respondAtLast(error) {
    throw error
  },
}

/** With the timeouts that a function of the app's picks. */
function settingsFor(request: IncomingMessage, settings: GuardSettings): GuardSettings {
  const { pickTimeouts } = settings
  if (!pickTimeouts) return settings
  return attempt('timeouts(request) failed, the defaults are used', settings, () => {
    const timeouts = pickTimeouts(request)
    resolveTimeouts(timeouts, timeoutProfiles.streaming)
    return { ...settings, timeouts, given: { ...settings.given, timeouts } }
  })
}
