import { jsonOf } from '../dialects/dialect.js'
import { systemClock, within } from '../timeouts/clock.js'
import { type CheckResult, found, ok, unknown } from './diagnosis.js'
import { chats, type Endpoint, small } from './endpoint.js'

/** A chat without a stream gets JSON. */
export async function nonStreaming(endpoint: Endpoint): Promise<CheckResult> {
  const { client } = await endpoint.ask(chats, {
    body: endpoint.chat('Say hi.', { ...small, stream: false }),
  })
  client.socket.destroy()
  const type = client.header('content-type')
  const evidence = `status ${client.status}, ${type === undefined ? 'no Content-Type' : endpoint.quote(type)}`
  if (client.status >= 400) return unknown('non-streaming', `${evidence}: it was refused`)
  if (client.body.complete && 'choices' in (jsonOf(client.bodyText) ?? {}))
    return ok('non-streaming', evidence)
  const cause = {
    finding: 'A request without a stream does not get one JSON document.',
    fix: 'Respond to "stream": false with JSON: readAnswer() of unhang reads an upstream that only streams.',
  }
  return found('non-streaming', cause, client.body.complete ? evidence : `${evidence}, and it was cut`)
}

/** A body that is not JSON is refused with a status and an error as JSON. */
export async function badInput(endpoint: Endpoint): Promise<CheckResult> {
  const headers = { 'Content-Type': 'application/json' }
  const { client } = await endpoint.ask(chats, { body: '{"messages": [', headers })
  client.socket.destroy()
  const { error } = jsonOf<{ error: { message?: unknown } }>(client.bodyText) ?? {}
  if (client.status === 429) return unknown('bad-input', 'status 429: it was refused')
  const isRefused = client.status >= 400 && client.status < 500
  const isTold = typeof error?.message === 'string'
  const evidence =
    client.status === 0 ? 'no response' : `status ${client.status}: ${endpoint.quote(client.bodyText)}`
  if (isRefused && isTold && client.body.complete)
    return ok('bad-input', `status ${client.status}, error as JSON`)
  const cause = {
    finding: 'A bad request is not reported as clients expect it: they show nothing, or retry in vain.',
    fix: 'Respond with 400 and {"error": {"message": …}}; respondWithError() of unhang does.',
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
  if (coding !== undefined)
    return found('http-1.0', http10Cause, `Transfer-Encoding: ${endpoint.quote(coding)}`)
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
  finding: 'Clients and proxies of HTTP/1.0 (nginx by default) cannot tell where the response ends.',
  fix: 'Leave Transfer-Encoding and Connection to Node; in nginx set proxy_http_version 1.1.',
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
      .until(() => client.bodyText.includes('data:') || client.body.complete)
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
      return ok(
        'disconnect',
        `the server ended it ${tookMs} ms later; whether the upstream was cancelled cannot be seen`,
      )
    const after = client.arrivalsMs.length - before
    const lastAt = client.arrivalsMs.at(-1) ?? 0
    const stillSends = after > 0 && lastAt > (client.arrivalsMs[before - 1] ?? 0) + noticeMs
    if (!stillSends) return unknown('disconnect', 'the connection stayed open, and nothing was sent')
    const cause = {
      finding:
        'The server goes on after the client has left: you keep paying for tokens that no client reads.',
      fix: "Listen to the response's close (not the request's), and pass stream.signal of unhang to the upstream call.",
    }
    return found('disconnect', cause, `${after} more pieces within ${watchMs / 1_000} s`)
  } finally {
    client.socket.destroy()
  }
}
