import { setTimeout as later } from 'node:timers/promises'
import { jsonOf } from '../../dialects/dialect.js'
import { answers, type FaultName, faultsOf, RawClient, scriptByModel } from '../../testing/index.js'
import { clientTrials } from './client-trials.js'
import { deadlineOf, waitFor } from './deadlines.js'
import { askOnce, faultTrial, lostText, readEnd, scriptOf, type Trial } from './trial.js'
import type { Reading } from './verdict.js'

/** At once, for a client. */
const soonMs = 5_000
/** How much of a deadline a silence takes that must not end a stream. */
const quiet = 0.6

const begins = ({ firstByteMs }: { firstByteMs: number }) => waitFor(firstByteMs)
const goesOn = ({ inactivityMs }: { inactivityMs: number }) => waitFor(inactivityMs)
const reported = ['reported'] as const

/** A proxy that fails this passes nothing on: no other trial would say anything. */
export const goodAnswer: Trial = {
  mode: 'FM-49',
  name: 'good',
  given: 'The upstream sends a whole answer.',
  must: ['fine'],
  requests: 1,
  isAlone: true,
  waitMs: begins,
  async run(stage, waitMs) {
    const play = stage.play(faultsOf(stage.shape).good)
    const reading = await askOnce(stage, play, waitMs, { isWhole: true })
    if (play.exchanges.length === 0) throw new Error(`${stage.notCalled} ${reading.finding.evidence}`)
    return { ...reading.finding, problem: reading.finding.problem ?? lacksText(reading) }
  },
}

const nextRequest: Trial = {
  mode: 'FM-49',
  name: 'next request',
  given: 'The upstream ends its body after the terminal event. The client sends another request.',
  must: ['fine'],
  requests: 2,
  waitMs: begins,
  async run(stage, waitMs) {
    const play = stage.play(faultsOf(stage.shape).good)
    const { finding } = await askOnce(stage, play, waitMs, { isWhole: true })
    const { client } = finding
    // A proxy may close a connection if it says so.
    if (!client || /\bclose\b/i.test(client.header('connection') ?? '')) return finding
    // The same socket, for a client that has received nothing yet.
    const again = new RawClient(client.socket)
    return (await askOnce(stage, play, waitMs, { isWhole: true, client: again })).finding
  },
}

function lacksText({ text }: Reading): string | undefined {
  return text.includes('Hello') ? undefined : 'the text "Hello" did not arrive'
}

const asJson: Trial = {
  mode: 'FM-43',
  name: 'no stream',
  given: 'The request does not ask for a stream.',
  must: ['fine'],
  requests: 1,
  waitMs: begins,
  async run(stage, waitMs) {
    const client = await stage.ask(stage.play(scriptByModel()), { stream: false })
    const { finding, status } = await readEnd(stage, client, waitMs, true)
    const { body, bodyText } = client
    if (status < 400 && body.complete && JSON.stringify(jsonOf(bodyText) ?? '').includes('Hello'))
      return { verdict: 'fine', evidence: 'one JSON document', client }
    if (!body.complete || status >= 400) return finding
    return {
      verdict: 'silent truncation',
      evidence: `not JSON: ${stage.endpoint.quote(bodyText)}`,
      client,
    }
  },
}

/** Needs a connection to the upstream that no other request uses meanwhile. */
const staleConnection: Trial = {
  mode: 'FM-13',
  name: 'staleConnection',
  given: 'The upstream closes a keep-alive connection when the next request arrives.',
  must: ['fine', 'reported'],
  requests: 2,
  isAlone: true,
  waitMs: begins,
  async run(stage, waitMs) {
    const play = stage.play(scriptOf(stage, 'staleConnection'))
    await askOnce(stage, play, waitMs, { isWhole: true })
    return (await askOnce(stage, play, waitMs, { isWhole: true })).finding
  },
}

const pause: Trial = {
  mode: 'FM-42',
  name: 'pause',
  given: 'The upstream is silent for 60 % of inactivityMs, then goes on.',
  must: ['fine'],
  requests: 1,
  isSlow: true,
  waitMs: goesOn,
  async run(stage, waitMs) {
    const { headers, begun, piece, end } = answers[stage.shape]
    const play = stage.play(async (exchange) => {
      exchange.open(headers).chunk(begun)
      await later(quiet * deadlineOf(waitMs))
      exchange.chunk(piece('lo')).chunk(end).end()
    })
    return (await askOnce(stage, play, waitMs, { isWhole: true })).finding
  },
}

/** Nothing listens where the upstream was; the last of all. */
const refused: Trial = {
  mode: 'FM-01',
  name: 'refused',
  given: 'The upstream refuses the connection.',
  must: reported,
  requests: 1,
  isAlone: true,
  waitMs: begins,
  async run(stage, waitMs) {
    const play = stage.play(faultsOf(stage.shape).good)
    await stage.close()
    return (await askOnce(stage, play, waitMs)).finding
  },
}

function statusIs(wanted: number, retryAfter?: string): (reading: Reading) => string | undefined {
  return ({ status, finding }) => {
    if (finding.verdict !== 'reported') return undefined
    if (status !== wanted) return `status ${status} instead of ${wanted}`
    const given = finding.client?.header('retry-after')
    if (retryAfter !== undefined && given !== retryAfter)
      return `Retry-After: ${given ?? 'missing'}, not ${retryAfter}`
    return undefined
  }
}

/** A failure that must be reported to the client. */
function mustReport(
  mode: string,
  fault: FaultName,
  given: string,
  waitMs: Trial['waitMs'],
  problem?: (reading: Reading) => string | undefined,
): Trial {
  return faultTrial({ mode, fault, given, waitMs, must: reported, problem })
}

function slowly(trial: Trial): Trial {
  return { ...trial, isSlow: true }
}

/** Faults that show at once. */
const quickFaults: readonly Trial[] = [
  mustReport('FM-12', 'finBeforeHead', 'The upstream closes a new connection before its headers.', begins),
  mustReport('FM-14', 'resetBeforeHead', 'The upstream resets the connection before its headers.', begins),
  mustReport(
    'FM-15',
    'resetMidStream',
    'The upstream resets the connection in mid-stream.',
    goesOn,
    lostText,
  ),
  mustReport('FM-15', 'finMidStream', 'The upstream closes the connection in mid-stream.', goesOn, lostText),
  mustReport('FM-15', 'halfEvent', 'The upstream closes in the middle of an event.', goesOn, lostText),
  mustReport(
    'FM-16',
    'shortBody',
    'The upstream sends fewer bytes than its Content-Length.',
    goesOn,
    lostText,
  ),
  mustReport('FM-17', 'truncated', 'The upstream ends its body without a terminal event.', goesOn, lostText),
  mustReport('FM-17', 'empty', 'The upstream ends its body without any event.', goesOn),
  mustReport('FM-18', 'garbage', 'The upstream sends a garbled status line.', begins),
  mustReport('FM-18', 'badChunkSize', 'The upstream sends a garbled chunk size.', goesOn, lostText),
  mustReport(
    'FM-19',
    'rateLimited',
    'The upstream responds with 429 and Retry-After.',
    begins,
    statusIs(429, '7'),
  ),
  mustReport('FM-20', 'serverError', 'The upstream responds with 500.', begins, statusIs(500)),
  mustReport('FM-21', 'errorEvent', 'The first event of the upstream is an error.', begins),
  mustReport(
    'FM-21',
    'errorMidStream',
    'An event of the upstream in mid-stream is an error.',
    goesOn,
    lostText,
  ),
  faultTrial({
    mode: 'FM-11',
    fault: 'resetAfterEnd',
    given: 'The upstream resets the connection after the terminal event.',
    must: ['fine'],
    isWhole: true,
    waitMs: goesOn,
  }),
  faultTrial({
    mode: 'FM-48',
    fault: 'keepsOpen',
    given: 'The upstream keeps the connection open after the terminal event.',
    must: ['fine'],
    isWhole: true,
    waitMs: (deadlines) => Math.min(soonMs, goesOn(deadlines)),
  }),
]

/** Faults that a deadline of the proxy ends. */
const slowFaults: readonly Trial[] = [
  mustReport('FM-03', 'silent', 'The upstream accepts the request and stays silent.', begins),
  mustReport('FM-04', 'headOnly', 'The upstream sends its headers and no body.', begins),
  mustReport(
    'FM-05',
    'onlyComments',
    'The upstream sends comments, and no content.',
    ({ firstEventMs, totalMs }) => waitFor(Math.min(firstEventMs, totalMs)),
  ),
  mustReport('FM-06', 'stalled', 'The upstream falls silent in mid-stream.', goesOn, lostText),
  mustReport(
    'FM-07',
    'pings',
    'The upstream sends comments in mid-stream, and no more content.',
    ({ upstreamStallMs, totalMs }) => waitFor(Math.min(upstreamStallMs, totalMs)),
    lostText,
  ),
  mustReport(
    'FM-08',
    'drip',
    'The upstream sends small pieces for ever.',
    ({ totalMs }) => waitFor(totalMs),
    lostText,
  ),
  mustReport('FM-20', 'slowError', 'The upstream responds with 500, and its body does not end.', goesOn),
].map(slowly)

/** All trials, in the order in which they begin: those that end at once, one after the other, then those that wait. */
export const trials: readonly Trial[] = [
  goodAnswer,
  nextRequest,
  asJson,
  staleConnection,
  ...quickFaults,
  ...clientTrials.filter(({ isSlow }) => !isSlow),
  ...slowFaults,
  pause,
  ...clientTrials.filter(({ isSlow }) => isSlow),
  refused,
]
