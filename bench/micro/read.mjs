// Bytes of an upstream to events, through a Node stream in memory; for each event.
import { Readable } from 'node:stream'
import { createParser } from 'eventsource-parser'
import { readEventStream } from '../../src/upstream/read-event-stream.ts'
import { eventOf } from '../rig/formats.mjs'

const reads = 50
const eventsPerRead = { 'one event a read': 1, 'many events a read': 64 }

/** One read of the socket is one push. */
function source(chunks) {
  let next = 0
  return new Readable({
    highWaterMark: 1,
    read() {
      this.push(next < chunks.length ? chunks[next++] : null)
    },
  })
}

async function byHand(chunks) {
  const decoder = new TextDecoder()
  let rest = ''
  let count = 0
  for await (const bytes of source(chunks)) {
    const lines = (rest + decoder.decode(bytes, { stream: true })).split('\n')
    rest = lines.pop()
    for (const line of lines) if (line.startsWith('data: ') && line.slice(6) !== '') count++
  }
  return count
}

async function byParser(chunks) {
  const decoder = new TextDecoder()
  let count = 0
  const parser = createParser({ onEvent: () => count++ })
  for await (const bytes of source(chunks)) parser.feed(decoder.decode(bytes, { stream: true }))
  return count
}

async function byUnhang(chunks) {
  let count = 0
  for await (const _ of readEventStream(source(chunks))) count++
  return count
}

function counted(way, chunks, events) {
  return async () => {
    const count = await way(chunks)
    if (count !== events) throw new Error(`${way.name} found ${count} of ${events} events`)
  }
}

export const comparisons = Object.entries(eventsPerRead).flatMap(([amount, perRead]) =>
  ['ascii', 'cjk'].map((text) => {
    const chunk = Array.from({ length: perRead }, (_, number) => eventOf('pass-through', text, number)).join(
      '',
    )
    const chunks = Array(reads).fill(Buffer.from(chunk))
    const events = reads * perRead
    return {
      title: `${amount}, ${text}`,
      per: events,
      plain: counted(byHand, chunks, events),
      candidates: {
        'eventsource-parser': counted(byParser, chunks, events),
        readEventStream: counted(byUnhang, chunks, events),
      },
    }
  }),
)
