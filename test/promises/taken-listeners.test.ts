import fetch from 'node-fetch'
import { describe, expect, test } from 'vitest'
import { liveStreams } from '../../src/server/live-streams.js'
import { faults } from '../../src/testing/index.js'
import { guarded, type Handler } from '../support/guarded.js'
import { rawRequest } from '../support/raw-client.js'
import { startUpstream } from '../support/scripted-upstream.js'

/**
 * A handler as SillyTavern's server has it: it takes Node's own listeners off the socket of its client, so that no
 * response of it is ever closed, and ends the response itself when the client has left.
 */
const asSillyTavern =
  (url: string): Handler =>
  async (request, response) => {
    const leaving = new AbortController()
    request.socket.removeAllListeners('close')
    request.socket.on('close', () => leaving.abort())
    try {
      const answer = await fetch(url, { method: 'POST', signal: leaving.signal })
      answer.body?.pipe(response)
      request.socket.on('close', () => response.end())
    } catch {
      response.writeHead(502, { 'Content-Type': 'application/json' }).end('{}')
    }
  }

describe('a client that leaves a handler that took the listeners off its socket', () => {
  test.each(['silent', 'headOnly', 'stalled', 'drip'] as const)('%s', async (fault) => {
    await using upstream = await startUpstream(faults[fault])
    await using proxy = await guarded(asSillyTavern(`${upstream.url}/v1/chat/completions`))
    using client = rawRequest({ port: proxy.port, body: { stream: true } })
    const exchange = await upstream.exchange(0)
    if (fault === 'stalled' || fault === 'drip') await client.received('data: ')
    client.reset()
    await exchange.closed
    await expect.poll(() => proxy.ends.map(({ outcome }) => outcome)).toEqual(['client_gone'])
    expect(liveStreams().size).toBe(0)
  })
})
