import { expect, test } from 'vitest'
import type { StreamEnd } from '../../src/index.js'
import { chatAnswer, chatChunk } from '../support/chat.js'
import { guarded } from '../support/guarded.js'
import { answerNaively } from '../support/mounts.js'
import { startProxy, upstreamClients } from '../support/proxy.js'
import { rawRequest } from '../support/raw-client.js'
import { startUpstream } from '../support/scripted-upstream.js'

const event = (data: unknown) => `data: ${typeof data === 'string' ? data : JSON.stringify(data)}\n\n`
const good = chatAnswer('Hel', 'lo').map(event).join('')
const begun = event(chatChunk('Hel'))

const streams: Record<string, string> = {
  'a good one': good,
  'with CRLF': good.replaceAll('\n', '\r\n'),
  'with a byte order mark': `\ufeff${good}`,
  'with comments first, and in between': `: hello\n\n${begun}: still here\n\n${good}`,
  'with names and ids': good.replaceAll('data:', 'event: message\nid: 1\ndata:'),
  'with more after its end': `${good}${begun}`,
  'without [DONE]': chatAnswer('Hi').slice(0, -1).map(event).join(''),
  'cut between two events': begun,
  'with an error event': `${begun}${event({ error: { message: 'no', code: 429 } })}`,
  'of an unknown API': 'data: a\n\ndata: b\n\n',
}

const path = '/v1/chat/completions'

async function seenBy(port: number) {
  using client = await rawRequest({ port, path, body: { stream: true } }).finished()
  return client.bodyText
}

const account = ({
  outcome,
  reason,
  status,
  events,
  bytes,
  heartbeats,
  sawTerminal,
  retries,
}: StreamEnd) => ({
  outcome,
  code: reason?.code,
  status,
  events,
  bytes,
  heartbeats,
  sawTerminal,
  retries,
})

test.each(Object.entries(streams))('the same bytes, the same record: %s', async (_what, text) => {
  await using upstream = await startUpstream((exchange) => exchange.open().chunk(text).end())
  await using route = await startProxy(async (stream) => {
    await stream.relay(await upstreamClients.http(upstream.url, stream))
  })
  await using guard = await guarded((request, response) =>
    answerNaively({ stream: true }, upstream.url, request, response),
  )
  const byRoute = await seenBy(route.port)
  const byGuard = await seenBy(guard.port)
  expect(byGuard).toBe(byRoute)
  const end = await route.end()
  while (guard.ends.length === 0) await new Promise((resolve) => setImmediate(resolve))
  expect(account(guard.ends[0] as StreamEnd)).toEqual(account(end))
  expect(end.bytes).toBe(Buffer.byteLength(byRoute))
})
