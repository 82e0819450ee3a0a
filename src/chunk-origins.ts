import { subscribe } from 'node:diagnostics_channel'
import type { Readable } from 'node:stream'

/** Who writes on what comes does so from the start. */
const mostRemembered = 4

const origins = new WeakMap<object, Readable>()
/** A text is no object: the last one, while its listeners are being called. */
let lastText: { chunk: string; origin: Readable } | undefined
const watched = new WeakSet<object>()
let isWatching = false

/**
 * From now on, for the answers of every `http.request` of the process, it is remembered of their first chunks which they
 * are from: `answer.on('data', (chunk) => response.write(chunk))` leaves no other trace, and nobody else hears when such
 * an answer breaks.
 *
 * @see https://nodejs.org/api/diagnostics_channel.html#http
 */
export function rememberOrigins(): void {
  if (isWatching) return
  isWatching = true
  subscribe('http.client.response.finish', (message) => watch((message as { response: Readable }).response))
}

/** The answer that a chunk came with, if it is one of the first. */
export function originOf(chunk: unknown): Readable | undefined {
  if (typeof chunk === 'string') return lastText?.chunk === chunk ? lastText.origin : undefined
  return typeof chunk === 'object' && chunk !== null ? origins.get(chunk) : undefined
}

/** How many read a source, beside us. */
export function readersOf(source: NodeJS.ReadableStream): number {
  return source.listenerCount('data') - (watched.has(source) ? 1 : 0)
}

/** Only what is read by listening: a listener of ours from the start would set the answer going. */
function watch(answer: Readable): void {
  let left = mostRemembered
  const remember = (chunk: string | object) => {
    if (typeof chunk === 'object') origins.set(chunk, answer)
    else {
      lastText = { chunk, origin: answer }
      process.nextTick(forgetText)
    }
    if (--left > 0) return
    answer.off('data', remember)
    watched.delete(answer)
  }
  const begin = (event: string | symbol) => {
    if (event !== 'data') return
    answer.off('newListener', begin)
    watched.add(answer)
    answer.on('data', remember)
  }
  answer.on('newListener', begin)
}

function forgetText(): void {
  lastText = undefined
}
