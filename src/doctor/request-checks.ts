import { systemClock, within } from '../clock.js'
import { jsonOf } from '../event-json.js'
import { RawClient } from '../testing/raw-client.js'
import { type CheckResult, found, ok, unknown } from './diagnosis.js'
import type { Answer, Endpoint } from './endpoint.js'
import { rawSeparators } from './framing.js'

const chats = '/chat/completions'
const small = { max_tokens: 16 }

/** A chat without a stream is answered with JSON. */
export async function nonStreaming(endpoint: Endpoint): Promise<CheckResult> {
  const { client } = await endpoint.ask(chats, {
    body: endpoint.chat('Say hi.', { ...small, stream: false }),
  })
  client.socket.destroy()
  const type = client.header('content-type') ?? 'no Content-Type'
  const evidence = `status ${client.status}, ${type}`
  if (client.status >= 400) return unknown('non-streaming', `${evidence}: it was refused`)
  if (client.body.complete && 'choices' in (jsonOf(client.bodyText) ?? {}))
    return ok('non-streaming', evidence)
  const cause = {
    finding: 'A client that asks for no stream does not get one JSON document.',
    fix: 'Answer "stream": false with JSON: readAnswer() of unhang reads an upstream that only streams.',
  }
  return found('non-streaming', cause, client.body.complete ? evidence : `${evidence}, and it was cut`)
}

/** What is no JSON is refused with a status and an error as JSON. */
export async function badInput(endpoint: Endpoint): Promise<CheckResult> {
  const headers = { 'Content-Type': 'application/json' }
  const { client } = await endpoint.ask(chats, { body: '{"messages": [', headers })
  client.socket.destroy()
  const { error } = jsonOf<{ error: { message?: unknown } }>(client.bodyText) ?? {}
  if (client.status === 429) return unknown('bad-input', 'status 429: it was refused')
  const isRefused = client.status >= 400 && client.status < 500
  const isTold = typeof error?.message === 'string'
  const evidence =
    client.status === 0 ? 'no answer' : `status ${client.status}: ${client.bodyText.slice(0, 80)}`
  if (isRefused && isTold && client.body.complete)
    return ok('bad-input', `status ${client.status}, error as JSON`)
  const cause = {
    finding:
      'A bad request is not told of as clients expect it: they show nothing, or retry what cannot succeed.',
    fix: 'Answer with 400 and {"error": {"message": …}}; respondWithError() of unhang does.',
  }
  return found('bad-input', cause, evidence)
}

/** To HTTP/1.0 there are no chunks. */
export async function http10(endpoint: Endpoint): Promise<CheckResult> {
  const body = endpoint.chat('Say hi.', small)
  const { client, isLate } = await endpoint.ask(chats, { body, httpVersion: '1.0' })
  client.socket.destroy()
  const coding = client.header('transfer-encoding')
  if (client.status >= 400) return unknown('http-1.0', `status ${client.status}: it was refused`)
  if (coding !== undefined) return found('http-1.0', http10Cause, `Transfer-Encoding: ${coding}`)
  const hasLength = client.header('content-length') !== undefined
  if (client.body.complete && hasLength) return ok('http-1.0', 'no chunks, and a length')
  if (isLate || client.ending !== 'fin' || !client.body.complete) {
    const how =
      client.ending === 'reset' ? 'was reset' : client.ending ? 'was closed too soon' : 'was left open'
    return found('http-1.0', http10Cause, `the connection ${how}`)
  }
  return ok('http-1.0', 'no chunks, and the connection was closed at the end')
}

const http10Cause = {
  finding: 'Clients and proxies of HTTP/1.0 (nginx by default) cannot tell where the answer ends.',
  fix: 'Leave Transfer-Encoding and Connection to Node; in nginx set proxy_http_version 1.1.',
}

/** A connection that was kept serves the next request, and is not compressed for a client that could read it. */
export async function nextRequest(endpoint: Endpoint, { client: first }: Answer): Promise<CheckResult[]> {
  if (/\bclose\b/i.test(first.header('connection') ?? '')) {
    return [unknown('next-request', 'the server said that it closes the connection')]
  }
  if (first.ending)
    return [found('next-request', nextRequestCause, 'it was closed, which was not said before')]
  const client = new RawClient(first.socket)
  const { isLate } = await endpoint.ask(
    chats,
    { body: endpoint.chat('Say hi.', small), headers: { 'Accept-Encoding': 'gzip, br' } },
    client,
  )
  client.socket.destroy()
  const failed = isLate
    ? 'no answer in time'
    : `the connection was ${client.ending === 'reset' ? 'reset' : 'closed'}`
  if (client.status === 0) return [found('next-request', nextRequestCause, failed)]
  return [
    ok('next-request', `status ${client.status} on the same connection`),
    compression(client.header('content-encoding')),
  ]
}

const nextRequestCause = {
  finding: 'A connection that is kept does not serve a second request: clients see "socket hang up".',
  fix: 'Do not set Connection, and end each body as it was begun; alignServerTimeouts() of unhang makes the server keep what it promises.',
}

function compression(coding: string | undefined): CheckResult {
  if (coding === undefined || coding === 'identity') return ok('compression', 'none, though it was offered')
  const cause = {
    finding: 'The stream is compressed: the compressor keeps events until it has enough of them.',
    fix: 'Send Cache-Control: no-cache, no-transform (unhang does), or leave event streams out of compression.',
  }
  return found('compression', cause, `Content-Encoding: ${coding}`)
}

/** What the server says of the connection, to a client that keeps it and to one that does not. */
export async function connection(endpoint: Endpoint, { client: kept }: Answer): Promise<CheckResult[]> {
  const body = endpoint.chat('Repeat exactly: a\u2028b', small)
  const { client } = await endpoint.ask(chats, { body, headers: { Connection: 'close' } })
  client.socket.destroy()
  const said = client.header('connection') ?? ''
  const hint = kept.header('keep-alive')
  const isHandWritten =
    /keep-alive/i.test(kept.header('connection') ?? '') &&
    hint === undefined &&
    kept.header('server') === undefined
  const cause = {
    finding:
      'Connection is written by hand: clients reuse connections that are being closed, and every second chat fails.',
    fix: 'Do not set Connection; Node says what it is going to do.',
  }
  const wrong = /keep-alive/i.test(said)
    ? `Connection: ${said} to a client that asked for close`
    : isHandWritten && 'Connection: keep-alive without Keep-Alive: timeout=…'
  return [
    wrong ? found('connection', cause, wrong) : ok('connection', `to close: ${said || 'nothing'}`),
    keepAlive(hint),
    separators(client.bodyText),
  ]
}

const shortestKeepAliveS = 60

function keepAlive(hint: string | undefined): CheckResult {
  const seconds = Number(/timeout=(\d+)/i.exec(hint ?? '')?.[1])
  if (hint === undefined || Number.isNaN(seconds))
    return unknown('keep-alive', 'the server does not say how long')
  if (seconds >= shortestKeepAliveS) return ok('keep-alive', `Keep-Alive: ${hint}`)
  const cause = {
    finding:
      'Idle connections are closed sooner than load balancers and SDKs let go of them (60 s): now and then a request is sent into a closing one.',
    fix: 'alignServerTimeouts(server) of unhang, or server.keepAliveTimeout = 75_000.',
  }
  return found('keep-alive', cause, `Keep-Alive: ${hint}`)
}

function separators(body: string): CheckResult {
  const raw = rawSeparators(body)
  if (raw.length === 0) return ok('line-separators', 'none came raw')
  const cause = {
    finding: 'Line separators of Unicode come raw: SillyTavern cuts the event there, and its stream breaks.',
    fix: 'Write events with createSSEWriter(), which escapes them.',
  }
  return found('line-separators', cause, `${raw.join(', ')} in the body`)
}

const noticeMs = 1_000
const watchMs = 3_000

/**
 * The server sends no more to a client that leaves. Whether its handler has noticed, and the upstream is cancelled, cannot
 * be seen from here.
 */
export async function disconnect(endpoint: Endpoint, limitMs: number): Promise<CheckResult> {
  const client = endpoint.connect()
  try {
    endpoint.send(client, chats, { body: endpoint.chat('Count from 1 to 60, one number a line.') })
    const begun = client
      .until(() => client.bodyText.includes('data:'))
      .then(
        () => true,
        () => false,
      )
    if (!(await within(begun, limitMs)) || !(await begun)) return unknown('disconnect', 'no event came')
    if (client.body.complete) return unknown('disconnect', 'the answer was there at once')
    const leftAt = systemClock.now()
    const before = client.arrivalsMs.length
    client.socket.end()
    await within(client.closed(), watchMs)
    const tookMs = Math.round(systemClock.now() - leftAt)
    if (client.ending)
      return ok('disconnect', `ended ${tookMs} ms later by the server; what its handler does cannot be seen`)
    const after = client.arrivalsMs.length - before
    const lastAt = client.arrivalsMs.at(-1) ?? 0
    const stillSends = after > 0 && lastAt > (client.arrivalsMs[before - 1] ?? 0) + noticeMs
    if (!stillSends) return unknown('disconnect', 'the connection stayed open, and nothing was sent')
    const cause = {
      finding: 'The server goes on for a client that has left: the model is paid for nobody.',
      fix: "Listen to the response's close (not the request's), and hand stream.signal of unhang to the upstream call.",
    }
    return found('disconnect', cause, `${after} more pieces within ${watchMs / 1_000} s`)
  } finally {
    client.socket.destroy()
  }
}
