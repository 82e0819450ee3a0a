import { systemClock, within } from '../timeouts/clock.js'
import { looksPerStall } from '../timeouts/deadlines.js'

/** How long a client may stand still, and how much it has taken so far. */
export interface Taking {
  clientStallMs: number
  taken: () => number
}

/** Waits for a client to take the rest. @returns `false` for one that takes nothing for `clientStallMs`, and up to a tenth more */
export async function isTaken(
  finished: Promise<unknown>,
  { clientStallMs, taken }: Taking,
): Promise<boolean> {
  let before = taken()
  for (let movedAt = systemClock.now(); ; ) {
    const leftMs = movedAt + clientStallMs - systemClock.now()
    if (await within(finished, Math.min(clientStallMs / looksPerStall, leftMs))) return true
    const now = systemClock.now()
    const seen = taken()
    if (seen > before) {
      before = seen
      movedAt = now
    } else if (now - movedAt >= clientStallMs) return false
  }
}
