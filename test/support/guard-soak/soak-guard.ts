import { startProgram } from '../program.js'
import type { ClientQuestions } from './clients.js'
import { outcomesOf, planOf, shown } from './plan.js'
import type { ProxyQuestions } from './proxy.js'
import type { UpstreamQuestions } from './upstream.js'

/** So many clients knock at the proxy at once, and no more: its system keeps a short queue at the door. */
const atTheDoor = 250

/** The proxy has a connection to each client, and one to the upstream for each. */
function checkLimit(needed: number): void {
  // Node raises the soft limit to the hard one when it starts.
  const { userLimits } = process.report.getReport() as unknown as Report
  const limit = Number(userLimits?.open_files.hard ?? needed)
  if (limit < needed) throw new Error(`needs ${needed} open files, and \`ulimit -Hn\` says ${limit}`)
}

interface Report {
  /** Not on Windows. Each limit is a number, or the word unlimited. */
  userLimits?: { open_files: { hard: number | string } }
}

/**
 * Runs streams through the guard, so many at once, in two rounds: the upstream, the proxy and the clients are processes
 * of their own. Each number and the seed decide the fate of a stream.
 */
export async function soakGuard(atOnce: number, seed: number, adopt = '') {
  checkLimit(2 * atOnce + 100)
  const folder = 'test/support/guard-soak'
  await using upstream = startProgram<UpstreamQuestions>(`${folder}/upstream.ts`, { SOAK_SEED: `${seed}` })
  await using proxy = startProgram<ProxyQuestions>(`${folder}/proxy.ts`, {
    SOAK_SEED: `${seed}`,
    SOAK_ADOPT: adopt,
  })
  await using clients = startProgram<ClientQuestions>(`${folder}/clients.ts`, { SOAK_SEED: `${seed}` })
  const upstreamUrl = `http://127.0.0.1:${await upstream.ask('port')}`
  const proxyPort = await proxy.ask('port', upstreamUrl)
  await clients.ask('meet', { proxyPort, upstreamUrl })

  /** Runs the streams from this number on, and returns the mistakes when they are over. */
  async function round(from: number) {
    const end = from + atOnce
    for (let next = from; next < end; next += atTheDoor) {
      const until = Math.min(end, next + atTheDoor)
      await clients.ask('open', { from: next, until })
      await upstream.ask('arrived', until)
    }
    const live = await proxy.ask('live')
    await Promise.all([upstream.ask('start'), clients.ask('start')])
    const wrong = await clients.ask('finished')
    const unread = await upstream.ask('left')
    return { live, wrong, unread, ...(await proxy.ask('ended', end)) }
  }

  const first = await round(0)
  const second = await round(atOnce)
  const kept = await proxy.ask('keptListeners')
  const upstreamSockets = await upstream.ask('close')
  const { warnings, ...left } = await proxy.ask('left')
  const wrongRecords = second.outcomes.flatMap((ended, number) => {
    const [outcome = 'none', ...more] = ended
    const plan = planOf(seed, number)
    if (more.length === 0 && outcomesOf(plan).includes(outcome)) return []
    return [`${shown(plan)}: recorded as ${ended.join(', ')}`]
  })
  return {
    /** How many streams were under way at once, in each round. */
    live: [first.live, second.live],
    /** The mistakes, one line each. */
    wrong: [...second.wrong, ...wrongRecords],
    /** The streams that the upstream still sends, or would, in each round. */
    unread: [first.unread, second.unread],
    left: { ...left, upstreamSockets },
    /** Of the proxy's process, after each round. */
    listeners: [first.listeners, second.listeners],
    kept,
    warnings,
    printed: proxy.errors,
  }
}
