import type { IncomingHttpHeaders } from 'node:http'
import type { ResolvedTimeouts } from '../timeouts/options.js'

const minMs = 1_000
const minMarginMs = 250

/**
 * The timeouts for a client that says how long it waits for the head (the OpenAI SDKs do, in whole seconds): an
 * response in time is better than none. Never longer than the timeouts in force.
 *
 * @see https://github.com/openai/openai-node, `x-stainless-timeout`
 */
export function withinClientTimeout(
  timeouts: ResolvedTimeouts,
  headers: IncomingHttpHeaders,
): ResolvedTimeouts {
  const firstByteMs = Math.min(timeouts.firstByteMs, clientWaitsMs(headers))
  if (firstByteMs === timeouts.firstByteMs) return timeouts
  return { ...timeouts, firstByteMs, connectMs: Math.min(timeouts.connectMs, firstByteMs) }
}

/** How long the client waits for the head, less the time to tell it; `Infinity` if it does not say. */
export function clientWaitsMs(headers: IncomingHttpHeaders): number {
  const waitsMs = Number(headers['x-stainless-timeout']) * 1_000
  // "0" is what becomes of a fraction of a second.
  if (!Number.isFinite(waitsMs) || waitsMs <= 0) return Number.POSITIVE_INFINITY
  return Math.max(minMs, waitsMs - Math.max(minMarginMs, waitsMs * 0.02))
}

/** Whether the client is retrying: our own retries would multiply with its. */
export function isClientRetry(headers: IncomingHttpHeaders): boolean {
  return Number(headers['x-stainless-retry-count']) > 0
}

/** The model a parsed body names. */
export function modelOf(body: unknown): string | undefined {
  if (typeof body !== 'object' || body === null) return undefined
  const { model } = body as { model?: unknown }
  return typeof model === 'string' ? model : undefined
}
