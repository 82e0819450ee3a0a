import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { chatChunk } from '../support/chat.js'
import { guarded } from '../support/guarded.js'
import { rawRequest } from '../support/raw-client.js'
import { eventStream, wire } from '../support/wire.js'

const responsesEvent = { type: 'response.created', response: {} }
const hourMs = 3_600_000

/** A stream on `GET` that says one thing, and then nothing for an hour. */
async function subscribe(path: string, event: unknown) {
  await using server = await guarded((_request, response) =>
    response.writeHead(200, eventStream).write(wire(event)),
  )
  using client = await rawRequest({ port: server.port, method: 'GET', path }).received('\n\n')
  vi.advanceTimersByTime(hourMs)
  for (let turn = 0; turn < 5; turn++) await new Promise(setImmediate)
  return { text: client.text, isOpen: client.ending === undefined && !client.body.complete }
}

describe('a stream on GET has the deadlines of its API, once that shows', () => {
  beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] }))
  afterEach(() => void vi.useRealTimers())

  test.each([
    ['/news', 'hello'],
    ['/messages', 'hello'],
    ['/api/messages?since=7', { text: 'hello' }],
  ])('%s: a page of the app’s own may wait for an hour', async (path, event) => {
    const { text, isOpen } = await subscribe(path, event)
    expect(isOpen).toBe(true)
    expect(text).not.toContain('event: error')
  })

  test.each([
    ['/chat?q=hello', chatChunk('Hi')],
    ['/v1/responses/resp_1?stream=true', responsesEvent],
    ['/api/messages', { type: 'message_start', message: {} }],
  ])('%s: once an event names an API, its silence is a failure', async (path, event) => {
    const { text, isOpen } = await subscribe(path, event)
    expect(isOpen).toBe(false)
    expect(text).toMatch(/event: error|"error"/)
  })
})
