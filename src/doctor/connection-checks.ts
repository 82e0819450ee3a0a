import { RawClient } from '../testing/raw-client.js'
import { type CheckResult, found, ok, unknown } from './diagnosis.js'
import { type Answer, chats, type Endpoint, small } from './endpoint.js'
import { rawSeparators } from './framing.js'
import type { Quote } from './quote.js'

/** A connection that was kept serves the next request, and is not compressed for a client that could read it. */
export async function nextRequest(endpoint: Endpoint, { client: first }: Answer): Promise<CheckResult[]> {
  if (/\bclose\b/i.test(first.header('connection') ?? '')) {
    return [unknown('next-request', 'the server said that it closes the connection')]
  }
  if (first.ending)
    return [found('next-request', nextRequestCause, 'it was closed, and no header had announced that')]
  const client = new RawClient(first.socket)
  const { isLate } = await endpoint.ask(
    chats,
    { body: endpoint.chat('Say hi.', small), headers: { 'Accept-Encoding': 'gzip, br' } },
    client,
  )
  client.socket.destroy()
  const failed = isLate
    ? 'no response in time'
    : `the connection was ${client.ending === 'reset' ? 'reset' : 'closed'}`
  if (client.status === 0) return [found('next-request', nextRequestCause, failed)]
  return [
    ok('next-request', `status ${client.status} on the same connection`),
    compression(client.header('content-encoding'), endpoint.quote),
  ]
}

const nextRequestCause = {
  finding: 'A keep-alive connection does not serve a second request: clients report "socket hang up".',
  fix: 'Do not set Connection, and send exactly the body that your headers announce. alignServerTimeouts() of unhang sets the keep-alive timeout.',
}

function compression(coding: string | undefined, quote: Quote): CheckResult {
  if (coding === undefined || coding === 'identity') return ok('compression', 'none, though it was offered')
  const cause = {
    finding: 'The stream is compressed: the compressor keeps events until it has enough of them.',
    fix: 'Send Cache-Control: no-cache, no-transform (unhang does), or leave event streams out of compression.',
  }
  return found('compression', cause, `Content-Encoding: ${quote(coding)}`)
}

/** The `Connection` header, for a client that keeps the connection and for one that does not. */
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
      'Your code sets the Connection header: clients reuse connections that are being closed, and every second chat fails.',
    fix: 'Do not set Connection: Node sets it, and keeps to it.',
  }
  const wrong = /keep-alive/i.test(said)
    ? `Connection: ${endpoint.quote(said)} to a client that asked for close`
    : isHandWritten && 'Connection: keep-alive without Keep-Alive: timeout=…'
  return [
    wrong
      ? found('connection', cause, wrong)
      : ok('connection', `to close: ${said === '' ? 'nothing' : endpoint.quote(said)}`),
    keepAlive(hint),
    separators(client.bodyText),
  ]
}

const shortestKeepAliveS = 60

function keepAlive(hint: string | undefined): CheckResult {
  const seconds = Number(/timeout=(\d+)/i.exec(hint ?? '')?.[1])
  if (hint === undefined || Number.isNaN(seconds))
    return unknown('keep-alive', 'the server does not announce a timeout')
  if (seconds >= shortestKeepAliveS) return ok('keep-alive', `Keep-Alive: timeout=${seconds}`)
  const cause = {
    finding:
      'The server closes idle connections sooner than load balancers and SDKs do (60 s): now and then a request is sent into a closing one.',
    fix: 'alignServerTimeouts(server) of unhang, or server.keepAliveTimeout = 75_000.',
  }
  return found('keep-alive', cause, `Keep-Alive: timeout=${seconds}`)
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
