import { expect, test } from 'vitest'
import { soakGuard } from '../support/guard-soak/soak-guard.js'

// `npm run soak:guard` runs 5,000 at once.
const atOnce = Number(process.env.SOAK_AT_ONCE ?? 200)
const seed = Number(process.env.SOAK_SEED ?? 1)

const runs = [
  ['handlers that pass the signal on', ''],
  ['handlers without a signal, whose upstreams the guard lets go', 'cancel'],
] as const

test.each(runs)(
  `twice ${atOnce} guarded streams at once, of seed ${seed}, with faults and clients that leave: %s: nothing lost, nothing left`,
  async (_which, adopt) => {
    const report = await soakGuard(atOnce, seed, adopt)
    if (process.env.SOAK_AT_ONCE) console.log(report)
    expect(report.wrong).toEqual([])
    expect(report.live).toEqual([atOnce, atOnce])
    expect(report.unread).toEqual([[], []])
    expect(report.left).toEqual({ streams: 0, clientSockets: 0, upstreamSockets: 0, timers: 0, objects: 0 })
    expect(report.listeners[1]).toEqual(report.listeners[0])
    expect(report.kept.connections).toBeGreaterThan(0)
    expect(report.kept.mostListeners).toBeLessThan(6)
    expect(report.warnings).toEqual([])
    expect(report.printed).toBe('')
  },
  600_000,
)
