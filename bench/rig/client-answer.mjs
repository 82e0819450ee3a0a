// Reads one answer over a raw socket, and says what is wrong with it.
import { connect } from 'node:net'
import { digitsLength, microsAt, nowMicros, numberAt, numbersInCycle } from './formats.mjs'
import { HttpChunks } from './http-chunks.mjs'

const done = Buffer.from('[DONE]')

/** The request of a chat client. */
export function sendRequest(socket, { path }) {
  const body = JSON.stringify({ model: 'bench', stream: true, messages: [] })
  socket.write(
    `POST ${path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n` +
      `Accept: text/event-stream\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  )
}

/** @returns `fault`: `undefined` if every event came, in order, then the end, and the socket was not reset */
export function readAnswer(job) {
  return new Promise((resolve) => {
    const socket = connect(job.port, '127.0.0.1')
    const events = new EventCheck(job)
    const chunks = new HttpChunks()
    let error
    const patience = setTimeout(() => socket.destroy(new Error('no end in time')), job.limitMs)
    sendRequest(socket, job)
    socket.on('data', (bytes) => {
      const body = chunks.take(bytes)
      if (body.length > 0) events.take(body)
      if (chunks.complete) socket.end()
      else if (chunks.fault) socket.destroy()
    })
    socket.on('error', (cause) => {
      error = cause
    })
    socket.on('close', () => {
      clearTimeout(patience)
      const ending = chunks.complete ? undefined : `cut off after ${events.count} events`
      const fault = error?.message ?? chunks.fault ?? events.fault ?? ending ?? events.missing()
      resolve({ fault, latencies: events.latencies })
    })
  })
}

/** Finds the events in a body that comes in pieces. */
class EventCheck {
  count = 0
  fault
  latencies = []
  #job
  #marker
  #digitsLength
  #rest = Buffer.alloc(0)
  #done = false

  constructor(job) {
    this.#job = job
    this.#marker = Buffer.from(job.marker)
    this.#digitsLength = digitsLength(job.text)
  }

  take(piece) {
    const { text, timed } = this.#job
    const bytes = this.#rest.length > 0 ? Buffer.concat([this.#rest, piece]) : piece
    const now = timed ? nowMicros() : 0
    let end = 0
    for (let at = bytes.indexOf(this.#marker); at !== -1; at = bytes.indexOf(this.#marker, end)) {
      const digitsAt = at + this.#marker.length
      if (digitsAt + this.#digitsLength > bytes.length) {
        this.#rest = bytes.subarray(at)
        return
      }
      end = digitsAt + this.#digitsLength
      const number = numberAt(bytes, digitsAt, text)
      if (number !== this.count % numbersInCycle) {
        this.fault ??= `event ${this.count} came as ${number}`
      }
      this.count++
      if (timed) this.latencies.push(now - microsAt(bytes, digitsAt, text))
    }
    // Only the last bytes can hold it: nothing comes after.
    if (bytes.indexOf(done, Math.max(end, bytes.length - 64)) !== -1) this.#done = true
    this.#rest = bytes.subarray(Math.max(end, bytes.length - this.#marker.length))
  }

  missing() {
    if (this.count !== this.#job.events) return `${this.count} of ${this.#job.events} events`
    return this.#done ? undefined : 'no [DONE]'
  }
}
