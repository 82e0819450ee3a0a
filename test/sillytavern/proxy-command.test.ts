import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { UpstreamScript } from '../../src/testing/index.js'
import { chatChunk } from '../support/chat.js'
import { startProxyCommand } from '../support/proxy-command.js'
import { endless, type Shown, shownBy, startModel, stopReply, told, whole } from './model.js'
import { type SillyTavern, startSillyTavern } from './silly-tavern.js'

let sillyTavern: SillyTavern

beforeAll(async () => {
  sillyTavern = await startSillyTavern()
})
afterAll(() => sillyTavern?.[Symbol.asyncDispose]())

const hangsUp = 'The upstream closed the connection before the answer was complete.'
const settled = true

/** The user's view of one chat through `npx unhang proxy`, with nothing set. */
async function shown(script: UpstreamScript, streaming: boolean): Promise<Shown> {
  await using model = await startModel(script)
  await using proxy = await startProxyCommand([model.url])
  // Awaited here: both must live until the chat is over.
  return await shownBy(sillyTavern, proxy.port, streaming)
}

describe('through unhang proxy', () => {
  test.each<[string, boolean, UpstreamScript, Shown]>([
    ['a good stream', true, whole, { settled, replies: ['Hello'], toasts: [] }],
    ['a good answer', false, whole, { settled, replies: ['Hello'], toasts: [] }],
    ['a reset before an answer', true, (exchange) => exchange.reset(), told(hangsUp)],
    [
      'a reset in mid-stream',
      true,
      (exchange) => exchange.open().data(chatChunk('Hel')).reset(),
      { settled, replies: ['Hel'], toasts: [hangsUp] },
    ],
    [
      'a stream that stops short',
      true,
      (exchange) => exchange.open().data(chatChunk('Hel')).end(),
      { settled, replies: ['Hel'], toasts: ['The upstream ended the answer before it was complete.'] },
    ],
    [
      'a rate limit',
      false,
      (exchange) => exchange.answer('429 Too Many Requests', '{"error":{"message":"Slow down."}}'),
      told('Too Many Requests'),
    ],
    [
      'JSON where a stream was asked for',
      true,
      (exchange) => exchange.answer('200 OK', '{"error":{"message":"Oops"}}'),
      told(expect.stringMatching(/^The upstream .*Oops$/)),
    ],
    [
      'an error as HTML',
      true,
      (exchange) => exchange.answer('500 Internal Server Error', '<h1>Oops</h1>', 'Content-Type: text/html'),
      told(expect.stringMatching(/^The upstream responded with status 500\./)),
    ],
  ])('%s (streaming: %s)', async (_what, streaming, script, seen) => {
    expect(await shown(script, streaming)).toEqual(seen)
  })

  test('four chats after each other', async () => {
    await using model = await startModel(whole)
    await using proxy = await startProxyCommand([model.url])
    await using chat = await sillyTavern.open(`${proxy.url}/v1`, true)
    for (let chats = 1; chats <= 4; chats++) {
      await chat.send('Hello?')
      expect(await chat.settled()).toBe(true)
      expect(await chat.replies()).toEqual(Array(chats).fill('Hello'))
    }
    expect(await chat.toasts()).toEqual([])
  })

  test('its stop button reaches the model', async () => {
    await using model = await startModel(endless)
    await using proxy = await startProxyCommand([model.url])
    await stopReply(sillyTavern, `${proxy.url}/v1`, model)
  })
})
