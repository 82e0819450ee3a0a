// The upstream of the bench, as its own process: paced, or as fast as it is read.
import { once } from 'node:events'
import { createServer } from 'node:http'
import { endOf, eventOf, msPerEvent, nowMicros, numbersInCycle } from './formats.mjs'

/** How many events each timed profile writes at once. */
const eventsPerWrite = { paced: 1, short: 1, burst: 4 }
const blockLength = 65_536

let answers = 0
/** Answers that have not ended, bytes that blasts have got rid of, and blasts that have got rid of everything. */
const counts = { open: 0, taken: 0, done: 0 }

const server = createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
  const { searchParams } = new URL(request.url, 'http://bench')
  const { kind, text, profile, events } = Object.fromEntries(searchParams)
  const answer = { kind, text, profile, events: Number(events) }
  request.resume()
  counts.open++
  response.on('close', () => counts.open--)
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  response.socket.setNoDelay(true)
  if (profile === 'idle') response.write(eventOf(kind, text, 0))
  else if (profile in eventsPerWrite) pace(response, answer)
  else blast(response, answer)
})

/** Each stream in a beat of its own, as tokens come. */
function pace(response, { kind, text, profile, events }) {
  const perWrite = eventsPerWrite[profile]
  let sent = 0
  const beat = () => {
    if (sent >= events || response.destroyed) {
      clearInterval(timer)
      response.end(endOf(kind))
      return
    }
    const micros = nowMicros()
    let piece = ''
    for (const end = sent + perWrite; sent < end; sent++) piece += eventOf(kind, text, sent, micros)
    response.write(piece)
  }
  let timer = setTimeout(
    () => {
      timer = setInterval(beat, msPerEvent * perWrite)
      beat()
    },
    answers++ % (msPerEvent * perWrite),
  )
}

/** `blast`: each event in an HTTP chunk of its own, as LLM servers write them. `bulk`: a chunk of many. */
async function blast(response, { kind, text, profile, events }) {
  const cycle = Array.from({ length: numbersInCycle }, (_, number) => eventOf(kind, text, number))
  const { socket } = response
  response.flushHeaders()
  for (let left = events; left > 0 && !socket.destroyed; ) {
    const block = blockOf(cycle, left, profile === 'bulk' ? blockLength : 0)
    // The bytes are framed already: node:http would spend more on them than a proxy on passing them on.
    const more = socket.write(block.bytes)
    counts.taken += block.bytes.length
    left -= block.events
    if (!more) await Promise.race([once(socket, 'drain'), once(socket, 'close')])
  }
  if (socket.destroyed) return
  counts.done++
  response.end(endOf(kind))
}

const blocks = new Map()

/** Whole cycles of events, about 64 KiB of them, or what is left. */
function blockOf(cycle, left, chunkLength) {
  const [sample] = cycle
  const cycles = Math.max(1, Math.floor(blockLength / (Buffer.byteLength(sample) * numbersInCycle)))
  const events = Math.min(left, cycles * numbersInCycle)
  const key = `${sample} ${events} ${chunkLength}`
  if (!blocks.has(key)) {
    const texts = Array.from({ length: events }, (_, number) => cycle[number % numbersInCycle])
    const chunks = chunkLength > 0 ? [texts.join('')] : texts
    blocks.set(key, { events, bytes: Buffer.from(chunks.map(asHttpChunk).join('')) })
  }
  return blocks.get(key)
}

function asHttpChunk(text) {
  return `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`
}

process.on('message', () => process.send(counts))
process.on('disconnect', () => process.exit())
server.listen(0, '127.0.0.1', () => process.send({ port: server.address().port }))
