import { type RawClient, rawRequest, type UpstreamExchange } from '../../src/testing/index.js'
import { chatAnswer, chatChunk } from '../support/chat.js'
import type { ScriptedUpstream } from '../support/scripted-upstream.js'
import type { RunningApp } from './app.js'

/** The faults of an upstream once it has said `Hel`, and the client has it. */
export type Course = (exchange: UpstreamExchange) => unknown

export const courses = {
  'sends a whole answer': (exchange) => exchange.data(...chatAnswer('lo')).end(),
  resets: (exchange) => exchange.reset(),
  'stops short': (exchange) => exchange.end(),
  'sets off a bug of the app': (exchange) => exchange.data(chatChunk('set the bug off')),
  'falls silent': () => {},
  'loses its client': () => {},
} as const satisfies Record<string, Course>

export type CourseName = keyof typeof courses

/** The fate of a stream. */
export type Outcome =
  | 'complete'
  | 'seems complete'
  | 'cut'
  | 'hangs'
  | 'the process ends'
  | 'reported'
  | 'let go'
  | 'goes on'

/** A client has then waited enough. The deadline of the guarded apps is a third of it. */
const waitMs = 2_400
export const silenceMs = 800

const isOver = (happened: Promise<unknown>): Promise<boolean> =>
  Promise.race([
    happened.then(() => true),
    new Promise<boolean>((resolve) => setTimeout(resolve, waitMs, false).unref()),
  ])

/** The text that a client got, and the code of its error, if it got one. */
export interface Seen {
  outcome: Outcome
  code?: string | undefined
}

/** Asks an app for a chat whose upstream takes this course. */
export async function take(
  app: RunningApp,
  upstream: ScriptedUpstream,
  name: CourseName,
  path: string,
): Promise<Seen> {
  const before = upstream.exchanges.length
  using client = rawRequest({ port: app.port, path, body: { stream: true } })
  // A test that fails here must not wait on, and take the exchange of the next.
  const exchange = await Promise.race([upstream.exchange(before), client.closed()])
  if (exchange === client) throw new Error(`${path} responded without its upstream: ${client.text}`)
  return await follow(app, client, exchange as UpstreamExchange, name)
}

async function follow(
  app: RunningApp,
  client: RawClient,
  exchange: UpstreamExchange,
  name: CourseName,
): Promise<Seen> {
  exchange.open().data(chatChunk('Hel'))
  await client.received('Hel')
  await courses[name](exchange)
  if (name === 'loses its client') {
    client.reset()
    return { outcome: (await isOver(exchange.closed)) ? 'let go' : 'goes on' }
  }
  return (await isOver(client.finished())) ? endingOf(client, app) : { outcome: 'hangs' }
}

async function endingOf(client: RawClient, app: RunningApp): Promise<Seen> {
  if (!client.body.complete) {
    // Its process is gone a moment after the connection.
    await isOver(app.ended)
    return { outcome: app.hasEnded ? 'the process ends' : 'cut' }
  }
  const last = client.data.at(-1) ?? ''
  if (last === '[DONE]') return { outcome: 'complete' }
  const code = /"error":\{.*?"code":"(\w+)"/.exec(last)?.[1]
  return code === undefined ? { outcome: 'seems complete' } : { outcome: 'reported', code }
}
