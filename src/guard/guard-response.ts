import type { IncomingMessage, ServerResponse } from 'node:http'
import { warnOnce } from '../diagnostics/channels.js'
import { shown } from '../errors/bad-input.js'
import { type Guarded, guards } from '../registry.js'
import { ResponseGuard } from './guard.js'
import type { GuardedStream } from './handle.js'
import type { GuardSettings } from './request.js'

/** The guard around a response: there is only ever one, of whichever copy of the library. */
export function guardResponse(
  request: IncomingMessage,
  response: ServerResponse,
  settings: GuardSettings,
): Guarded {
  const known = guards().get(response)
  if (!known) return new ResponseGuard(request, response, settings).handle
  if (!settings.areDefaults) {
    warnOnce("guardStreams() is mounted twice; the inner one's options are ignored")
  }
  return known
}

/**
 * The stream of a request that the guard watches: its `signal` aborts when the client leaves or a deadline
 * passes.
 *
 * @param request the request of `node:http`, also as Express hands it on; in Koa the context or its request
 */
export function getStream(request: object): GuardedStream | undefined {
  return streamOf(request, 'getStream')
}

function streamOf(request: object, call: string): GuardedStream | undefined {
  const { req, raw } = Object(request) as { req?: object; raw?: object }
  const inner = req ?? raw ?? request
  const { headers } = Object(inner) as { headers?: unknown }
  if (typeof headers === 'object' && headers !== null) {
    return guards().get(inner) as (Guarded & GuardedStream) | undefined
  }
  throw new TypeError(`${call}(request) takes a request, got ${shown(request)}`)
}

/**
 * The signal to hand to every upstream call: it aborts when the client leaves or a deadline passes. That of a request which
 * nothing guards never aborts.
 *
 * @param request the request of `node:http`, also as Express hands it on; in Koa the context or its request
 */
export function getSignal(request: object): AbortSignal {
  return streamOf(request, 'getSignal')?.signal ?? new AbortController().signal
}
