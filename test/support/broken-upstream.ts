import http from 'node:http'
import { afterEach, beforeEach, vi } from 'vitest'
import type { GuardOptions } from '../../src/index.js'
import { chatAnswer, chatChunk } from './chat.js'
import { guarded, type Handler } from './guarded.js'
import { rawRequest } from './raw-client.js'
import { type Script, startUpstream } from './scripted-upstream.js'

/** The clock of the library, and of the handlers; sockets have their own. */
export function useFakeClock(): void {
  beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] }))
  afterEach(() => void vi.useRealTimers())
}

export const turns = async (times = 10) => {
  while (times-- > 0) await new Promise(setImmediate)
}
export const pass = async (durationMs: number) => {
  await vi.advanceTimersByTimeAsync(durationMs)
  await turns()
}
export const later = (durationMs: number) => new Promise((resolve) => setTimeout(resolve, durationMs))

/** An upstream whose first answer can be broken, and whose others are given. */
const thenNext = (next: Script): Script => {
  let calls = 0
  return (exchange) => (calls++ === 0 ? exchange.open().data(chatChunk('Hel')) : next(exchange))
}
const rest: Script = (exchange) =>
  exchange
    .open()
    .data(...chatAnswer('lo'))
    .end()

/** Calls an upstream as http.request does in tutorials: no listener hears of a break. */
export function copy(url: string, response: http.ServerResponse): Promise<void> {
  return new Promise((closed) => {
    http
      .request(url, { method: 'POST' }, (upstream) => {
        upstream.on('data', (chunk) => response.write(chunk)).on('end', () => response.end())
        upstream.on('close', closed)
      })
      .end()
  })
}

/** A handler, and the responses of its upstream after the first call, which breaks. */
export interface BrokenCourse {
  handler(url: string): Handler
  next?: Script
}

/** A guarded handler whose upstream breaks once the client has had "Hel". */
export async function broken(
  course: BrokenCourse,
  options: GuardOptions = {},
  path = '/v1/chat/completions',
) {
  const upstream = await startUpstream(thenNext(course.next ?? rest))
  const server = await guarded(course.handler(upstream.url), options)
  const client = rawRequest({ port: server.port, path, body: { stream: true } })
  await client.received('Hel')
  await (await upstream.exchange(0)).reset()
  return {
    server,
    client,
    upstream,
    async [Symbol.asyncDispose]() {
      client.socket.destroy()
      await server[Symbol.asyncDispose]()
      await upstream[Symbol.asyncDispose]()
    },
  }
}
