import type { IncomingMessage, ServerResponse } from 'node:http'
import { type GuardOptions, type StreamEnd, wrapApp } from '../../src/index.js'
import { listen } from './proxy.js'

export type Handler = (request: IncomingMessage, response: ServerResponse) => unknown

/** A server whose handler is guarded, and the records of its streams. */
export async function guarded(handler: Handler, options: GuardOptions = {}) {
  const ends: StreamEnd[] = []
  const onEnd = (end: StreamEnd) => {
    ends.push(end)
    // The test looks at failures itself.
    return true
  }
  return { ...(await listen(wrapApp(handler, { ...options, onEnd }))), ends }
}
