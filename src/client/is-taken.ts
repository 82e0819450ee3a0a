import { within } from '../timeouts/clock.js'

/** How long a client may stand still, and how much it has taken so far. */
interface Taking {
  clientStallMs: number
  taken: () => number
}

/** Waits for a client to take the rest. @returns `false` for one that takes nothing for `clientStallMs` */
export async function isTaken(
  finished: Promise<unknown>,
  { clientStallMs, taken }: Taking,
): Promise<boolean> {
  for (let before = taken(); ; ) {
    if (await within(finished, clientStallMs)) return true
    const now = taken()
    if (now <= before) return false
    before = now
  }
}
