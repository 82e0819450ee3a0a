import { connection, nextRequest } from './connection-checks.js'
import { type CheckResult, found, unknown } from './diagnosis.js'
import { type Answer, chats, Endpoint } from './endpoint.js'
import { publicUrl } from './quote.js'
import { badInput, disconnect, http10, nonStreaming } from './request-checks.js'
import { streamChecks } from './stream-checks.js'

export interface DoctorOptions {
  key?: string | undefined
  model?: string | undefined
  /** How long one response may take, in milliseconds. Default 75 000: unhang itself allows a minute of silence. */
  limitMs?: number | undefined
  /** How long a long silence is, in milliseconds. Default 20 000. */
  silenceMs?: number | undefined
  /** Told what will be sent, before it is. */
  announce?: ((text: string) => void) | undefined
  /** Told of each result as it is known. */
  onResult?: ((result: CheckResult) => void) | undefined
}

export interface Diagnosis {
  /** Without user and query, where keys stand. */
  url: string
  model: string
  checks: CheckResult[]
}

/**
 * Probes an OpenAI-compatible endpoint for causes of hang-ups: eight requests, six of them small chats, one after
 * the other.
 *
 * @param url what clients call the base URL, say `http://127.0.0.1:3000/v1`
 * @throws TypeError for anything but an HTTP URL
 */
export async function examine(url: string, options: DoctorOptions = {}): Promise<Diagnosis> {
  const { key, model, limitMs = 75_000, silenceMs = 20_000 } = options
  const endpoint = new Endpoint(url, { key, model, limitMs })
  const shownUrl = publicUrl(new URL(url))
  options.announce?.(
    `Sends at most 8 requests to ${shownUrl}, one after the other: 6 chats of at most 200 tokens, one for the list of models, ` +
      `and one that is not JSON. Each may take ${limitMs / 1_000} s.\n`,
  )
  await endpoint.findModel()
  const checks: CheckResult[] = []
  for await (const results of examineEndpoint(endpoint, limitMs, silenceMs)) {
    checks.push(...results)
    for (const result of results) options.onResult?.(result)
  }
  return { url: shownUrl, model: endpoint.mask(endpoint.model), checks }
}

/** The results, one by one: the user of a server that hangs wants to know now. */
async function* examineEndpoint(
  endpoint: Endpoint,
  limitMs: number,
  silenceMs: number,
): AsyncGenerator<CheckResult[], void> {
  const body = endpoint.chat('Count from 1 to 60, one number a line.')
  const answer = await endpoint.ask(chats, { body })
  const { client, fault, isLate } = answer
  try {
    if (fault) yield [found('framing', chunkCause, endpoint.quote(fault.message))]
    else if (client.status !== 200) return yield [refusal(answer)]
    else yield streamChecks.map((check) => check(answer, silenceMs))
    // The others would take as long each, and say no more.
    if (isLate) return
    if (!fault && client.body.complete)
      yield await attempt('next-request', endpoint, () => nextRequest(endpoint, answer))
  } finally {
    client.socket.destroy()
  }
  yield await attempt('connection', endpoint, () => connection(endpoint, answer))
  yield await attempt('non-streaming', endpoint, () => nonStreaming(endpoint))
  yield await attempt('bad-input', endpoint, () => badInput(endpoint))
  yield await attempt('http-1.0', endpoint, () => http10(endpoint))
  yield await attempt('disconnect', endpoint, () => disconnect(endpoint, limitMs))
}

const chunkCause = {
  finding: 'The body is not valid HTTP: clients give up with a parse error.',
  fix: 'Leave the chunks to Node: never write to the socket of a response, nor set Transfer-Encoding.',
}

/** A check that fails in an unexpected way has shown nothing. */
async function attempt(
  check: string,
  { quote }: Endpoint,
  run: () => Promise<CheckResult | CheckResult[]>,
): Promise<CheckResult[]> {
  try {
    return [await run()].flat()
  } catch (error) {
    return [unknown(check, quote((error as Error).message))]
  }
}

function refusal({ client, isLate, durationMs, quote }: Answer): CheckResult {
  const { status, socket, bytes } = client
  const isHttp = bytes.length === 0 || bytes.toString('latin1', 0, 5) === 'HTTP/'
  if (status === 0 || !isHttp) {
    const cause = {
      finding: 'The server sends no response to a chat.',
      fix: 'Is it running, and is this its base URL, with /v1 if it has one? A connection that ends without a response is a crash (an http.request without an error listener?), or a handler that never responds. guardStreams() of unhang then responds.',
    }
    const evidence = isLate
      ? `no response within ${Math.round(durationMs / 1_000)} s`
      : socket.errored
        ? quote(socket.errored.message)
        : 'the connection ended without a response'
    return found('reachable', cause, isHttp ? evidence : 'the response is not HTTP')
  }
  const cause = {
    finding: 'A simple chat request was refused; nothing else can be checked.',
    fix:
      status === 401 || status === 403
        ? 'Give a key with --key.'
        : 'Read its message; --model sets the model.',
  }
  return found('reachable', cause, `status ${status}: ${quote(client.bodyText)}`)
}
