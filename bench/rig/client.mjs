// The load client of the bench, as its own process: raw sockets, and every event counted.
import { connect } from 'node:net'
import { marker } from './formats.mjs'

const done = Buffer.from('[DONE]')

process.on('message', async ({ port, query, streams, events }) => {
  const counts = await Promise.all(Array.from({ length: streams }, () => stream(port, query)))
  const wrong = counts.filter((count) => count.events !== events || !count.done)
  process.send({ wrong: wrong.length, example: wrong[0] })
})

function stream(port, query) {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    const body = JSON.stringify({ model: 'bench', stream: true, messages: [] })
    socket.write(
      `POST /v1/chat/completions?${query} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n` +
        `Content-Length: ${body.length}\r\n\r\n${body}`,
    )
    let events = 0
    let rest = Buffer.alloc(0)
    const settle = (isDone) => {
      socket.destroy()
      resolve({ events, done: isDone })
    }
    const take = (bytes) => {
      const all = rest.length > 0 ? Buffer.concat([rest, bytes]) : bytes
      let at = all.indexOf(marker)
      let end = 0
      while (at !== -1) {
        events++
        end = at + marker.length
        at = all.indexOf(marker, end)
      }
      if (all.indexOf(done, Math.max(0, all.length - 64)) !== -1) return settle(true)
      rest = all.subarray(Math.max(end, all.length - marker.length))
    }
    const unchunk = chunkReader(take)
    let head = Buffer.alloc(0)
    socket.on('data', (bytes) => {
      if (head === undefined) return unchunk(bytes)
      head = Buffer.concat([head, bytes])
      const end = head.indexOf('\r\n\r\n')
      if (end === -1) return
      const body = head.subarray(end + 4)
      head = undefined
      unchunk(body)
    })
    socket.on('close', () => settle(false)).on('error', () => settle(false))
  })
}

/** Takes the framing of chunked bodies off: a boundary may fall into anything. */
function chunkReader(take) {
  let left = 0
  let line = ''
  return (bytes) => {
    let at = 0
    while (at < bytes.length) {
      if (left > 0) {
        const piece = bytes.subarray(at, at + left)
        left -= piece.length
        at += piece.length
        take(piece)
        continue
      }
      const character = String.fromCharCode(bytes[at++])
      if (character !== '\n') line += character
      else {
        // An empty line is the end of the chunk before.
        if (line.trim() !== '') left = Number.parseInt(line, 16)
        line = ''
      }
    }
  }
}

process.send({ ready: true })
