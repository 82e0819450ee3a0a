import type { RawClient } from '../testing/raw-client.js'
import { type CheckResult, found, unknown } from './diagnosis.js'
import { Endpoint } from './endpoint.js'
import { badInput, connection, disconnect, http10, nextRequest, nonStreaming } from './request-checks.js'
import { streamChecks } from './stream-checks.js'

export interface DoctorOptions {
  key?: string | undefined
  model?: string | undefined
  /** How long one answer may take, in milliseconds. Default 60 000. */
  limitMs?: number | undefined
  /** What counts as a long silence, in milliseconds. Default 20 000. */
  silenceMs?: number | undefined
  /** Told what will be sent, before it is. */
  announce?: ((text: string) => void) | undefined
}

export interface Diagnosis {
  url: string
  model: string
  checks: CheckResult[]
}

/**
 * Probes an OpenAI-compatible endpoint for causes of hang-ups: eight requests, six of them small chats, one after
 * the other.
 *
 * @param url what clients call the base URL, say `http://127.0.0.1:3000/v1`
 * @throws TypeError for what is no URL of HTTP
 */
export async function examine(url: string, options: DoctorOptions = {}): Promise<Diagnosis> {
  const { key, model, limitMs = 60_000, silenceMs = 20_000, announce } = options
  const endpoint = new Endpoint(url, { key, model, limitMs })
  announce?.(
    `Sends 8 requests to ${url}, one after the other: 6 chats of at most 200 tokens, one for the list of models, ` +
      `and one that is no JSON. Each may take ${limitMs / 1_000} s.\n`,
  )
  await endpoint.findModel()
  const checks = await examineEndpoint(endpoint, limitMs, silenceMs)
  return { url, model: endpoint.model, checks }
}

async function examineEndpoint(
  endpoint: Endpoint,
  limitMs: number,
  silenceMs: number,
): Promise<CheckResult[]> {
  const body = endpoint.chat('Count from 1 to 60, one number a line.')
  const answer = await endpoint.ask('/chat/completions', { body })
  const { client, fault } = answer
  const others = async () => [
    ...(await attempt('connection', () => connection(endpoint, answer))),
    ...(await attempt('non-streaming', () => nonStreaming(endpoint))),
    ...(await attempt('bad-input', () => badInput(endpoint))),
    ...(await attempt('http-1.0', () => http10(endpoint))),
    ...(await attempt('disconnect', () => disconnect(endpoint, limitMs))),
  ]
  try {
    if (client.status !== 200) return [refusal(client)]
    if (fault) return [found('framing', chunkCause, fault.message), ...(await others())]
    const checks = streamChecks.map((check) => check(answer, silenceMs))
    if (client.body.complete)
      checks.push(...(await attempt('next-request', () => nextRequest(endpoint, answer))))
    client.socket.destroy()
    return [...checks, ...(await others())]
  } finally {
    client.socket.destroy()
  }
}

const chunkCause = {
  finding: 'The body is no HTTP: clients give up with a parse error.',
  fix: 'Leave the chunks to Node: never write to the socket of a response, nor set Transfer-Encoding.',
}

/** What fails otherwise than a check can tell of has shown nothing. */
async function attempt(
  check: string,
  run: () => Promise<CheckResult | CheckResult[]>,
): Promise<CheckResult[]> {
  try {
    return [await run()].flat()
  } catch (error) {
    return [unknown(check, (error as Error).message)]
  }
}

function refusal({ status, bodyText: body, socket }: RawClient): CheckResult {
  if (status === 0) {
    const cause = {
      finding: 'Nothing answers a chat.',
      fix: 'Is it running, and is this its base URL, with /v1 if it has one? A connection that is reset before an answer is a crash, or a handler that never answers: guardStreams() of unhang answers for it.',
    }
    return found('reachable', cause, socket.errored?.message ?? 'the connection ended without an answer')
  }
  const cause = {
    finding: 'A plain chat is refused: nothing else can be told.',
    fix:
      status === 401 || status === 403
        ? 'Give a key with --key.'
        : 'Look at what it says; --model names a model.',
  }
  return found('reachable', cause, `status ${status}: ${body.slice(0, 120)}`)
}
