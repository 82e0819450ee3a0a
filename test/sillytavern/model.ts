import { startUpstream, type UpstreamExchange, type UpstreamScript } from '../../src/testing/index.js'
import { chatAnswer } from '../support/chat.js'
import type { SillyTavern } from './silly-tavern.js'

/** What an upstream does with a chat; the list of models it always gives. */
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

/** What a user sees when a chat is over, or when it is not. */
export interface Shown {
  settled: boolean
  replies: string[]
  toasts: unknown[]
}

export const nothing: Shown = { settled: true, replies: [], toasts: [] }
export const told = (...toasts: unknown[]): Shown => ({ ...nothing, toasts })
/** A chat whose end never comes. */
export const forEver: Shown = { settled: false, replies: ['…'], toasts: [] }

/** What its user sees of one chat with the server at this port. */
export async function shownBy(sillyTavern: SillyTavern, port: number, streaming: boolean): Promise<Shown> {
  await using chat = await sillyTavern.open(`http://127.0.0.1:${port}/v1`, streaming)
  await chat.send('Hello?')
  const settled = await chat.settled(4_000)
  return { settled, replies: await chat.replies(), toasts: await chat.toasts() }
}
