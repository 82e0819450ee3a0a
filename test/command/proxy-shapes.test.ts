import { describe, expect, test } from 'vitest'
import type { StreamOutcome } from '../../src/index.js'
import {
  type AnswerShape,
  answers,
  assertCleanEnding,
  type FaultName,
  faultsOf,
  rawRequest,
  startUpstream,
} from '../../src/testing/index.js'
import { startProxied } from '../support/proxied.js'

/** The chats of OpenAI have a table of their own, with the codes that a client reads. */
const shapes = (Object.keys(answers) as AnswerShape[]).filter((shape) => shape !== 'openai')

/** The fate of a stream of any API. */
const outcomes: Record<FaultName, readonly StreamOutcome[]> = {
  good: ['completed'],
  splitUtf8: ['completed'],
  resetAfterEnd: ['completed'],
  keepsOpen: ['completed'],
  staleConnection: ['completed'],
  silent: ['timeout'],
  slowHead: ['timeout'],
  headOnly: ['timeout'],
  stalled: ['timeout'],
  onlyComments: ['timeout'],
  pings: ['timeout'],
  drip: ['timeout'],
  flood: ['timeout'],
  slowError: ['timeout'],
  resetBeforeHead: ['upstream_hangup'],
  finBeforeHead: ['upstream_hangup'],
  resetMidStream: ['upstream_hangup'],
  finMidStream: ['upstream_hangup'],
  halfEvent: ['upstream_hangup'],
  shortBody: ['upstream_hangup'],
  badChunkSize: ['upstream_protocol', 'upstream_hangup'],
  truncated: ['upstream_truncated'],
  empty: ['upstream_truncated'],
  endlessLine: ['upstream_protocol'],
  garbage: ['upstream_protocol'],
  webPage: ['upstream_protocol'],
  jsonError: ['upstream_error'],
  errorEvent: ['upstream_error'],
  errorMidStream: ['upstream_error'],
  rateLimited: ['upstream_error'],
  serverError: ['upstream_error'],
}

/** These end at `totalMs` only. */
const endless = ['onlyComments', 'pings', 'drip', 'flood']
const isWhole = process.env.GAUNTLET === 'whole'
const chosen = (Object.keys(outcomes) as FaultName[]).filter((name) => isWhole || !endless.includes(name))

describe.each(shapes)('a stream of %s', { concurrent: true }, (shape) => {
  test.each(chosen)('ends well for its client with the fault %s', async (name) => {
    await using upstream = await startUpstream(faultsOf(shape)[name])
    const totalMs = endless.includes(name) ? 1_500 : 30_000
    const waitMs = outcomes[name].includes('timeout') ? 500 : 15_000
    const timeouts = { firstByteMs: waitMs, inactivityMs: waitMs, totalMs }
    await using proxy = await startProxied(upstream.url, { timeouts })
    const body = { model: 'test-model', stream: true, messages: [] }
    using client = await rawRequest({ port: proxy.port, path: answers[shape].path, body }).finished()
    if (shape === 'ollama' && name === 'jsonError') {
      // Ollama's clients take the error of any JSON line, whatever its type.
      expect(client.body.complete).toBe(true)
      expect(client.bodyText).toBe('{"error":"overloaded"}')
      return
    }
    const isGood = outcomes[name].includes('completed')
    expect(assertCleanEnding(client, shape) === undefined).toBe(isGood)
    const [, outcome] = /: (\w+), status /.exec(await proxy.line(0)) ?? []
    expect(outcomes[name]).toContain(outcome)
  })
})
