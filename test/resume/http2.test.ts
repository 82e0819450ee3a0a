import { once } from 'node:events'
import {
  type ClientHttp2Session,
  connect,
  createServer,
  type Http2ServerRequest,
  type Http2ServerResponse,
} from 'node:http2'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { handleStream, type StreamEnd, wrapApp } from '../../src/index.js'
import { createResume } from '../../src/resume/index.js'
import { startUpstream } from '../support/scripted-upstream.js'
import { withResolvers } from '../support/with-resolvers.js'
import { chatEvents, eventsIn } from './resumable.js'

const events = chatEvents(62)
const closing: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

/** One request, and its response so far. */
class Asked {
  text = ''
  readonly head: Promise<Record<string, unknown>>
  readonly stream

  constructor(session: ClientHttp2Session, method: string, path: string) {
    this.stream = session.request({ ':method': method, ':path': path })
    this.head = once(this.stream, 'response').then(([headers]) => headers)
    this.stream.setEncoding('utf8').on('data', (piece) => {
      this.text += piece
    })
    this.stream.on('error', () => {})
    this.stream.end()
  }

  async read(count: number): Promise<void> {
    while (eventsIn(this.text).length < count) await once(this.stream, 'data')
  }

  async rest(): Promise<string[]> {
    if (!this.stream.closed) await once(this.stream, 'close')
    return eventsIn(this.text)
  }
}

/** A server of HTTP/2, and an upstream that waits after half of its answer. */
async function start(mount: 'a route' | 'guarded', detachMs?: number) {
  const gate = withResolvers()
  const left = withResolvers()
  const upstream = await startUpstream(async (exchange) => {
    exchange.socket.on('close', () => left.resolve())
    exchange.open().data(...events.slice(0, 31))
    await gate.promise
    exchange.data(...events.slice(31)).end()
  })
  closing.push(() => upstream[Symbol.asyncDispose]())
  const ends: StreamEnd[] = []
  const onEnd = (end: StreamEnd) => ends.push(end)
  const resume = createResume({ owner: false, detachMs })
  const rejoin = resume.rejoin()
  const post = (_request: Http2ServerRequest, response: Http2ServerResponse) =>
    void handleStream(
      response,
      async ({ relay, signal }) => void (await relay(fetch(upstream.url, { method: 'POST', signal }))),
      { resume, onEnd },
    )
  const unaware = wrapApp(
    async (_request, response) => {
      const { body } = await fetch(upstream.url, { method: 'POST' })
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      for await (const chunk of body as unknown as AsyncIterable<Uint8Array>) response.write(chunk)
      response.end()
    },
    { resume, onEnd },
  )
  const serve = mount === 'a route' ? post : unaware
  const server = createServer((request, response) => {
    if (request.method === 'GET') void rejoin(request, response)
    else serve(request as never, response as never)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const session = connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  closing.push(async () => {
    session.destroy()
    server.close()
    await once(server, 'close')
  })
  const ask = (method: string, path: string) => new Asked(session, method, path)
  return { ask, ends, letOn: gate.resolve, left: left.promise }
}

describe.each(['a route', 'guarded'] as const)('HTTP/2, %s', (mount) => {
  test('a client whose stream was reset rejoins it: 62 of 62', async () => {
    const { ask, ends, letOn } = await start(mount)
    const first = ask('POST', '/v1/chat/completions')
    const id = (await first.head)['unhang-stream']
    await first.read(10)
    first.stream.close(8)
    const had = await first.rest()
    const again = ask('GET', `/v1/streams/${id}?after=${had.length}`)
    // The server has heard of the reset before it responds.
    await again.head
    letOn()
    expect([...had, ...(await again.rest())]).toEqual(events)
    await expect
      .poll(() => ends)
      .toContainEqual(expect.objectContaining({ outcome: 'completed', detached: true, recorded: true }))
  })

  test('the client does not come back: the upstream is let go after detachMs', async () => {
    const { ask, ends, left } = await start(mount, 50)
    const first = ask('POST', '/v1/chat/completions')
    await first.read(10)
    first.stream.close(8)
    await left
    await expect.poll(() => ends).toMatchObject([{ outcome: 'client_gone', detached: true }])
  })
})
