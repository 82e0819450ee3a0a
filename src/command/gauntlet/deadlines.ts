/** The deadlines of the proxy under test, in milliseconds; `Infinity` for one that it does not have. */
export interface ProxyDeadlines {
  readonly firstByteMs: number
  readonly firstEventMs: number
  readonly inactivityMs: number
  readonly upstreamStallMs: number
  readonly totalMs: number
  readonly clientStallMs: number
}

/** A deadline does not pass to the millisecond. */
const share = 1.2
const graceMs = 500

/** How long a client waits for what a deadline of the proxy ends. */
export function waitFor(deadlineMs: number): number {
  return deadlineMs * share + graceMs
}

/** The deadline that a client waits for. */
export function deadlineOf(waitMs: number): number {
  return (waitMs - graceMs) / share
}
