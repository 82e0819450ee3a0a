import type { IncomingMessage, ServerResponse } from 'node:http'
import { describe, expect, test } from 'vitest'
import { handleStream, type StreamEnd, wrapApp } from '../../src/index.js'
import { listen, upstreamClients } from '../support/proxy.js'
import { rawRequest } from '../support/raw-client.js'
import { type Script, startUpstream } from '../support/scripted-upstream.js'
import { eventStream, wire } from '../support/wire.js'

const ask = (id: number, method = 'message/stream') => ({ jsonrpc: '2.0', id, method, params: {} })
const result = (id: number, more: object = {}) => ({ jsonrpc: '2.0', id, result: more })
const progress = { jsonrpc: '2.0', method: 'notifications/progress', params: {} }

/** A server whose requests have been parsed, and how a response of it ended. */
async function served(kind: 'guard' | 'route', upstream: string, body: unknown) {
  let ended: (end: StreamEnd) => void = () => {}
  const record = new Promise<StreamEnd>((resolve) => {
    ended = resolve
  })
  const onEnd = (end: StreamEnd) => {
    ended(end)
    return true
  }
  const guarded = wrapApp(
    async (_request: IncomingMessage, response: ServerResponse) => {
      const answer = await fetch(upstream, { method: 'POST' })
      response.writeHead(answer.status, eventStream)
      for await (const chunk of answer.body ?? []) response.write(chunk)
      response.end()
    },
    { onEnd },
  )
  const server = await listen((request, response) => {
    Object.assign(request, { body })
    if (kind === 'guard') return guarded(request, response)
    void handleStream(response, (stream) => stream.relay(upstreamClients.http(upstream, stream)), { onEnd })
  })
  return Object.assign(server, { record })
}

async function seen(kind: 'guard' | 'route', body: unknown, script: Script) {
  await using upstream = await startUpstream(script)
  await using server = await served(kind, upstream.url, body)
  using client = await rawRequest({ port: server.port, path: '/rpc', body: {} }).finished()
  return { text: client.bodyText, isWhole: client.body.complete, end: await server.record }
}

describe.each(['guard', 'route'] as const)('%s', (kind) => {
  test.each([
    ['says that it is not the last one', [result(1, { final: false })]],
    ['is followed by another one', [result(1, { kind: 'task' }), result(1, { kind: 'artifact-update' })]],
  ])('a break after a response that %s is a failure with its id', async (_what, events) => {
    const { text, isWhole, end } = await seen(kind, ask(1), (exchange) =>
      exchange
        .open()
        .data(...events)
        .reset(),
    )
    expect(isWhole).toBe(true)
    expect(text.startsWith(wire(...events))).toBe(true)
    expect(JSON.parse(text.slice(wire(...events).length + 'data: '.length))).toMatchObject({
      id: 1,
      error: { code: -32_000, message: end.reason?.message },
    })
    expect(end.outcome).toBe('upstream_hangup')
  })

  test.each<[string, object[], 'end' | 'reset']>([
    ['the last one says so', [result(1, { final: false }), result(1, { final: true })], 'reset'],
    ['the last one is an error', [result(1), { jsonrpc: '2.0', id: 1, error: { code: 1 } }], 'reset'],
    ['they end, even if none says so', [result(1), result(1), result(1)], 'end'],
    ['they end, even if one said the contrary', [result(1, { final: false })], 'end'],
  ])('several responses to one request are complete when %s', async (_what, events, ending) => {
    const { text, isWhole, end } = await seen(kind, ask(1), (exchange) =>
      exchange
        .open()
        .data(...events)
        [ending](),
    )
    expect({ text, isWhole }).toEqual({ text: wire(...events), isWhole: true })
    expect(end).toMatchObject({ outcome: 'completed', events: events.length })
  })

  test('an end before each request has a response is a truncation', async () => {
    const events = [result(1), result(1)]
    const { text, end } = await seen(kind, [ask(1), ask(2)], (exchange) =>
      exchange
        .open()
        .data(...events)
        .end(),
    )
    expect(end.outcome).toBe('upstream_truncated')
    expect(text).toContain('"id":2,"error"')
  })

  test('the responses to a batch may come in one event', async () => {
    const events = [progress, [result(1), result(2)]]
    const { text, end } = await seen(kind, [ask(1), ask(2)], (exchange) =>
      exchange
        .open()
        .data(...events)
        .end(),
    )
    expect(text).toBe(wire(...events))
    expect(end).toMatchObject({ outcome: 'completed', sawTerminal: true })
  })
})
