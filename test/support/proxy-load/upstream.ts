import { createHash } from 'node:crypto'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { chatAnswer } from '../chat.js'
import { wire } from '../wire.js'

/** An upstream in a process of its own: `POST …/chat/completions` waits until this many wait with it. */
const atOnce = Number(process.argv[2])
let waiting: ServerResponse[] = []
const events = chatAnswer(...Array.from({ length: 20 }, (_, at) => `${at} `)).map((event) => wire(event))

async function answer(response: ServerResponse): Promise<void> {
  response.writeHead(200, { 'Content-Type': 'text/event-stream' })
  for (const event of events) {
    response.write(event)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  response.end()
}

const megabyte = Buffer.alloc(1024 * 1024, 'unhang')

const server = createServer(async (request, response) => {
  const { pathname, searchParams } = new URL(request.url ?? '', 'http://a')
  if (pathname === '/down') {
    const left = Array.from({ length: Number(searchParams.get('megabytes')) }, () => megabyte)
    return void pipeline(Readable.from(left), response).catch(() => {})
  }
  if (pathname === '/up') {
    const hash = createHash('sha256')
    for await (const chunk of request) hash.update(chunk)
    return void response.end(hash.digest('hex'))
  }
  request.resume()
  waiting.push(response)
  if (waiting.length < atOnce) return
  for (const each of waiting) void answer(each)
  waiting = []
}).listen({ port: 0, host: '127.0.0.1', backlog: 5_000 }, () => {
  console.log((server.address() as AddressInfo).port)
})
