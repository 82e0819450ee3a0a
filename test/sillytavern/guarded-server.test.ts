import { resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { GuardOptions } from '../../src/index.js'
import { RawClient, type UpstreamScript } from '../../src/testing/index.js'
import { chatChunk } from '../support/chat.js'
import {
  endless,
  forEver,
  nothing,
  type Shown,
  shownBy,
  startModel,
  stopReply,
  told,
  whole,
} from './model.js'
import { type SillyTavern, startSillyTavern } from './silly-tavern.js'

/** As docs/SILLYTAVERN.md shows it; the server is as it was installed. */
const flags = ['--import', resolve('dist/register.js')]
// The test does not wait for a minute.
const options: GuardOptions = { timeouts: { firstByteMs: 1_500, inactivityMs: 1_500 } }
let bare: SillyTavern
let guarded: SillyTavern

beforeAll(async () => {
  bare = await startSillyTavern()
  guarded = await startSillyTavern({ flags, environment: { UNHANG_OPTIONS: JSON.stringify(options) } })
})
afterAll(async () => {
  await bare?.[Symbol.asyncDispose]()
  await guarded?.[Symbol.asyncDispose]()
})

const hangsUp = 'The upstream closed the connection before the answer was complete.'
const cameAnd = (...toasts: string[]): Shown => ({ settled: true, replies: ['Hel'], toasts })
const said = (exchange: Parameters<UpstreamScript>[0]) => exchange.open().data(chatChunk('Hel'))
const reset = told(expect.stringMatching(/request to .* failed, reason: read ECONNRESET/))

describe.each<[string, UpstreamScript, Shown, Shown]>([
  ['resets in mid-stream', (exchange) => said(exchange).reset(), forEver, cameAnd(hangsUp)],
  ['hangs up in mid-stream', (exchange) => said(exchange).fin(), forEver, cameAnd(hangsUp)],
  [
    'hangs up in the middle of an event',
    (exchange) => said(exchange).chunk('data: {"choi').fin(),
    forEver,
    // Its page throws at the half, which it has got already, and shows nothing for that.
    { ...forEver, settled: true },
  ],
  [
    'stops short',
    (exchange) => said(exchange).end(),
    cameAnd(),
    cameAnd('The upstream ended the answer before it was complete.'),
  ],
  ['falls silent', said, forEver, cameAnd('The upstream fell silent in the middle of the answer.')],
  [
    'sends a head and nothing else',
    (exchange) => exchange.open(),
    { ...nothing, settled: false },
    told('The upstream did not begin to respond in time.'),
  ],
  // SillyTavern's own message stays.
  ['resets before an answer', (exchange) => exchange.reset(), reset, reset],
  ['sends a whole answer', whole, { ...nothing, replies: ['Hello'] }, { ...nothing, replies: ['Hello'] }],
])("a model's server that %s", (_name, script, without, with_) => {
  test('without the guard', async () => {
    await using model = await startModel(script)
    expect(await shownBy(bare, model.port, true)).toEqual(without)
  })
  test('with it', async () => {
    await using model = await startModel(script)
    expect(await shownBy(guarded, model.port, true)).toEqual(with_)
  })
})

test('the stop button reaches the model', async () => {
  await using model = await startModel(endless)
  await stopReply(guarded, `${model.url}/v1`, model)
})

interface Request {
  method: string
  path: string
  body?: object
  headers?: Record<string, string>
}

/** The response of one server, as its page would ask it. */
async function response({ port }: SillyTavern, { headers, ...request }: Request) {
  const first = await fetch(`http://127.0.0.1:${port}/csrf-token`)
  const { token } = (await first.json()) as { token: string }
  const cookies = first.headers.getSetCookie().map((cookie) => cookie.split(';', 1)[0])
  using client = new RawClient(port).send({
    ...request,
    headers: { 'X-CSRF-Token': token, Cookie: cookies.join('; '), ...headers },
  })
  await client.finished()
  return {
    // Two responses of one server differ in these, too.
    head: client.head.replace(/^(Date|X-Response-Time|Set-Cookie): .*$/gm, '$1'),
    body: client.body.bytes.toString('latin1'),
    complete: client.body.complete,
  }
}

const chat = (url: string, stream: boolean) => ({
  method: 'POST',
  path: '/api/backends/chat-completions/generate',
  body: {
    stream,
    model: 'my-model',
    messages: [{ role: 'user', content: 'Hello?' }],
    chat_completion_source: 'custom',
    custom_url: `${url}/v1`,
  },
})

describe('byte for byte as without the guard', () => {
  const gzip = { 'Accept-Encoding': 'gzip' }
  test.each<Request>([
    { method: 'GET', path: '/' },
    { method: 'GET', path: '/style.css' },
    { method: 'GET', path: '/style.css', headers: gzip },
    { method: 'GET', path: '/script.js', headers: { Range: 'bytes=100-199' } },
    { method: 'GET', path: '/lib.js', headers: gzip },
    { method: 'GET', path: '/img/ai4.png' },
    { method: 'HEAD', path: '/script.js', headers: { Connection: 'close' } },
    { method: 'GET', path: '/login' },
    { method: 'GET', path: '/version' },
    { method: 'GET', path: '/thumbnail?type=avatar&file=default_Seraphina.png' },
    { method: 'GET', path: '/nothing-here' },
    { method: 'POST', path: '/api/ping' },
    { method: 'POST', path: '/api/settings/get', body: {} },
    { method: 'POST', path: '/api/settings/get', body: {}, headers: gzip },
    { method: 'POST', path: '/api/characters/all', body: {} },
    { method: 'POST', path: '/api/characters/all', body: {}, headers: { 'X-CSRF-Token': 'wrong' } },
  ])('$method $path $headers', async (request) => {
    const plain = await response(bare, request)
    expect(plain.head).toMatch(/^HTTP\/1\.1 [23]\d\d |^HTTP\/1\.1 40[34] /)
    expect(await response(guarded, request)).toEqual(plain)
  })

  test('a chat that does not stream', async () => {
    await using model = await startModel(whole)
    const plain = await response(bare, chat(model.url, false))
    expect(plain.body).toContain('Hello')
    expect(await response(guarded, chat(model.url, false))).toEqual(plain)
  })

  test('an error of the model in place of a stream', async () => {
    await using model = await startModel((exchange) =>
      exchange.answer('429 Too Many Requests', '{"error":{"message":"Slow down."}}'),
    )
    const plain = await response(bare, chat(model.url, true))
    expect(plain.head).toContain('429 Too Many Requests')
    expect(await response(guarded, chat(model.url, true))).toEqual(plain)
  })

  test('the body of a stream that is complete; its head gets the type that it never had', async () => {
    await using model = await startModel(whole)
    const plain = await response(bare, chat(model.url, true))
    const { head, ...rest } = await response(guarded, chat(model.url, true))
    expect({ ...rest, head: plain.head }).toEqual(plain)
    expect(plain.head).not.toMatch(/^content-type:/im)
    expect(head).toMatch(/^content-type: text\/event-stream/im)
  })
})
