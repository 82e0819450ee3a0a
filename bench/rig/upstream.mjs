// The upstream of the bench, as its own process: paced, in bursts, or as fast as it is read.
import { createServer } from 'node:http'
import { endOf, eventOf } from './formats.mjs'

const server = createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
  const url = new URL(request.url, 'http://bench')
  const { kind, text, profile } = Object.fromEntries(url.searchParams)
  const events = Number(url.searchParams.get('events'))
  request.resume()
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  response.socket.setNoDelay(true)
  const event = Buffer.from(eventOf(kind, text))
  if (profile === 'blast') return void blast(response, event, events, endOf(kind))
  const burst = profile === 'burst' ? 4 : 1
  const piece = Buffer.concat(Array(burst).fill(event))
  let left = events
  // Each stream in its own beat, as tokens come.
  const timer = setInterval(() => {
    if (left <= 0 || response.destroyed) {
      clearInterval(timer)
      response.end(endOf(kind))
      return
    }
    left -= burst
    response.write(piece)
  }, 20 * burst)
})

/** Each event in an HTTP chunk of its own, as LLM servers write them. */
async function blast(response, event, events, end) {
  const { socket } = response
  response.flushHeaders()
  const framed = Buffer.concat([Buffer.from(`${event.length.toString(16)}\r\n`), event, Buffer.from('\r\n')])
  const perWrite = Math.max(1, Math.floor(65_536 / framed.length))
  const block = Buffer.concat(Array(perWrite).fill(framed))
  for (let left = events; left > 0; left -= perWrite) {
    const bytes = left >= perWrite ? block : block.subarray(0, left * framed.length)
    if (!socket.write(bytes)) await new Promise((resolve) => socket.once('drain', resolve))
  }
  response.end(end)
}

server.listen(0, '127.0.0.1', () => process.send({ port: server.address().port }))
