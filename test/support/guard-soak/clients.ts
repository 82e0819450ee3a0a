import { assertCleanEnding, RawClient } from '../../../src/testing/index.js'
import { answerQuestions } from '../program.js'
import { withResolvers } from '../with-resolvers.js'
import { ending, errorEvent, half, idOf, type Plan, planOf, shown } from './plan.js'

interface Addresses {
  proxyPort: number
  upstreamUrl: string
}

const seed = Number(process.env.SOAK_SEED)
let addresses: Addresses
let start = withResolvers()
const running: Promise<unknown>[] = []
const wrong: string[] = []

async function run(plan: Plan): Promise<void> {
  using client = new RawClient(addresses.proxyPort)
  client.send({ headers: { 'X-Request-Id': idOf(plan.number) }, body: { stream: true } })
  await start.promise
  const patience = setTimeout(() => {
    wrong.push(`${shown(plan)}: is not over after a minute`)
    client.reset()
  }, 60_000)
  const problem = await see(plan, client)
  clearTimeout(patience)
  if (problem !== undefined) wrong.push(`${shown(plan)}: ${problem}`)
}

/** Plays the client of this stream. Returns the mistake in its response. */
async function see(plan: Plan, client: RawClient): Promise<string | undefined> {
  const has = (count: number) =>
    client.until(() => client.body.complete || client.data.length >= count).catch(() => {})
  if (plan.leavesAfter !== undefined) {
    await has(plan.leavesAfter)
    client.reset()
    return undefined
  }
  if (plan.fault === 'resets') {
    await has(plan.events.length)
    await fetch(`${addresses.upstreamUrl}/read/${plan.number}`, { method: 'POST' })
  }
  await client.finished()
  try {
    check(plan, client)
    return undefined
  } catch (error) {
    return (error as Error).message
  }
}

const isSame = (one: unknown, other: unknown) => JSON.stringify(one) === JSON.stringify(other)

/** Every event that was sent, in order, then exactly the ending that this fault has. */
function check({ fault, events }: Plan, client: RawClient): void {
  const sent = events.map((event) => JSON.stringify(event))
  const begun = client.data.slice(0, sent.length)
  const rest = client.data.slice(sent.length)
  const got = JSON.stringify(client.data)
  const demand = (holds: boolean, what: string) => {
    if (!holds) throw new Error(`${what}: ${client.status} ${got.slice(-2_000)}`)
  }
  demand(client.body.complete, `the body was cut (${client.ending})`)
  if (fault === 'resetsAtOnce' || fault === 'resetsBeforeHead') {
    demand(assertCleanEnding(client)?.code === 'connection_reset', 'no word of the reset')
    // A reset may destroy bytes that the proxy's system has not handed over yet.
    const whole = client.data.slice(0, -1)
    return demand(isSame(whole, sent.slice(0, whole.length)), 'not what was sent')
  }
  demand(isSame(begun, sent), `not the ${sent.length} events that were sent`)
  if (fault === 'good' || fault === 'slow') {
    return demand(isSame(rest, [JSON.stringify(ending[0]), ending[1]]), 'not the ending that was sent')
  }
  if (fault === 'errorEvent')
    return demand(isSame(rest, [JSON.stringify(errorEvent)]), 'not the error that was sent')
  const last = JSON.parse(rest.pop() ?? '{}')
  demand(last.error?.code === codes[fault], `no ${codes[fault]} at the end`)
  demand(isSame(rest, fault === 'halfEvent' ? [half.slice('data: '.length)] : []), 'more than was sent')
}

const codes = {
  endsEarly: 'upstream_truncated',
  hangsUp: 'connection_reset',
  halfEvent: 'connection_reset',
  resets: 'connection_reset',
  fallsSilent: 'upstream_inactivity_timeout',
}

const questions = {
  meet(given: Addresses) {
    addresses = given
  },
  /** Opens the streams with these numbers; they go on at the start. */
  open({ from, until }: { from: number; until: number }) {
    for (let number = from; number < until; number++) running.push(run(planOf(seed, number)))
  },
  start() {
    start.resolve()
    start = withResolvers()
  },
  async finished() {
    await Promise.all(running.splice(0))
    return wrong
  },
}
export type ClientQuestions = typeof questions
answerQuestions(questions)
