import { expect } from 'vitest'
import {
  type ScriptedUpstream,
  startUpstream,
  type UpstreamExchange,
  type UpstreamScript,
} from '../../src/testing/index.js'
import { chatAnswer, chatChunk } from '../support/chat.js'
import type { SillyTavern } from './silly-tavern.js'

/** The faults of an upstream in a chat; the list of models it always gives. */
export function startModel(script: UpstreamScript) {
  return startUpstream((exchange) =>
    exchange.head.startsWith('GET')
      ? exchange.answer('200 OK', '{"data":[{"id":"my-model"}]}')
      : script(exchange),
  )
}

export const asksForStream = ({ body }: UpstreamExchange) => body.includes('"stream":true')

export const whole: UpstreamScript = (exchange) =>
  asksForStream(exchange)
    ? exchange
        .open()
        .data(...chatAnswer('Hel', 'lo'))
        .end()
    : exchange.answer('200 OK', '{"choices":[{"message":{"content":"Hello"}}]}')

/** The page of a user when a chat is over, or when it is not. */
export interface Shown {
  settled: boolean
  replies: string[]
  toasts: unknown[]
}

export const nothing: Shown = { settled: true, replies: [], toasts: [] }
export const told = (...toasts: unknown[]): Shown => ({ ...nothing, toasts })
/** A chat whose end never comes. */
export const forEver: Shown = { settled: false, replies: ['…'], toasts: [] }

/** A model that writes on until its client has gone. */
export const endless: UpstreamScript = (exchange) =>
  // It shows a piece when the next one has come, and no more than 30 a second.
  asksForStream(exchange) ? exchange.open().every(50, () => exchange.data(chatChunk('Hel'))) : undefined

/** Stops a streamed reply of the `endless` model, and waits until the model knows. */
export async function stopReply(
  sillyTavern: SillyTavern,
  baseUrl: string,
  model: ScriptedUpstream,
): Promise<void> {
  await using chat = await sillyTavern.open(baseUrl, true)
  await chat.send('Hello?')
  await chat.replied('Hel')
  await chat.stop()
  await model.exchanges.at(-1)?.closed
  expect(await chat.settled()).toBe(true)
  expect(await chat.toasts()).toEqual([])
}

/** The user's view of one chat with the server at this port. */
export async function shownBy(sillyTavern: SillyTavern, port: number, streaming: boolean): Promise<Shown> {
  await using chat = await sillyTavern.open(`http://127.0.0.1:${port}/v1`, streaming)
  await chat.send('Hello?')
  const settled = await chat.settled(4_000)
  return { settled, replies: await chat.replies(), toasts: await chat.toasts() }
}
