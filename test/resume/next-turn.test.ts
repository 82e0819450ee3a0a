import http from 'node:http'
import { afterEach, expect, test } from 'vitest'
import { type StreamEnd, wrapApp } from '../../src/index.js'
import { createResume, memoryStore } from '../../src/resume/index.js'
import { listen } from '../support/proxy.js'
import { startUpstream } from '../support/scripted-upstream.js'
import { eventStream } from '../support/wire.js'
import { chatEvents, eventsIn, readSome, routeMount, startResumable, user } from './resumable.js'

// The next turn of a chat has the id of the one before: its client has read the end of that one.

const closing: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

const events = chatEvents(12)
const streamId = () => 'chat-1'

test('thirty turns of a route: none is refused', async () => {
  const server = await startResumable(
    routeMount,
    memoryStore(),
    async ({ writer }) => {
      for (const event of events) await writer.write(event)
    },
    { streamId },
  )
  closing.push(() => server[Symbol.asyncDispose]())
  for (let number = 0; number < 30; number++) {
    const { response, events: got } = await readSome(
      `${server.url}/v1/chat/completions`,
      { method: 'POST', headers: user },
      events.length,
    )
    expect({ status: response.status, got }).toEqual({ status: 200, got: events })
  }
})

test('behind the guard: the upstream of the turn before has not ended after its terminal event', async () => {
  const upstream = await startUpstream((exchange) => exchange.open().data(...events))
  closing.push(() => upstream[Symbol.asyncDispose]())
  const ends: StreamEnd[] = []
  const resume = createResume({ owner: false, streamId })
  const server = await listen(
    wrapApp(
      (_request, response) => {
        http
          .request(upstream.url, { method: 'POST' }, (answer) =>
            answer.pipe(response.writeHead(200, eventStream)),
          )
          .end()
      },
      { resume, cleanup: { lingerMs: 60_000 }, onEnd: (end) => ends.push(end) },
    ),
  )
  closing.push(() => server[Symbol.asyncDispose]())
  for (let number = 1; number <= 3; number++) {
    const init = { method: 'POST' }
    const { events: got, leave } = await readSome(`${server.url}/v1/chat/completions`, init, events.length)
    expect(got).toEqual(events)
    expect(await resume.find('chat-1')).toMatchObject({ last: events.length, end: { outcome: 'completed' } })
    leave()
  }
  await expect
    .poll(() => ends.map(({ outcome, recorded }) => ({ outcome, recorded })))
    .toEqual(Array.from({ length: 3 }, () => ({ outcome: 'completed', recorded: true })))
  const rejoin = await listen(resume.rejoin() as http.RequestListener)
  closing.push(() => rejoin[Symbol.asyncDispose]())
  expect(eventsIn(await (await fetch(`${rejoin.url}/chat-1`)).text())).toEqual(events)
})
