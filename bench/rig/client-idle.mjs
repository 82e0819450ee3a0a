// Streams that are opened and then left alone, for the memory they cost the proxy.
import { once } from 'node:events'
import { connect } from 'node:net'
import { sendRequest } from './client-answer.mjs'

const atOnce = 50

/** Tasks of the client: hold streams open, and let them go. */
export function openIdleStreams() {
  const sockets = new Set()
  let received = 0

  /** Waits for the head, or for the first event where the stream is to be read. */
  async function open(job) {
    const socket = connect(job.port, '127.0.0.1')
    sockets.add(socket)
    sendRequest(socket, job)
    if (job.stalled) {
      await once(socket, 'readable')
      return
    }
    let text = ''
    for (;;) {
      const [bytes] = await once(socket, 'data')
      text += bytes.toString('latin1')
      if (text.includes(job.marker)) break
      if (!/^HTTP\/1\.1 200 /.test(text)) throw new Error(text.slice(0, 80))
    }
    socket.on('data', (bytes) => {
      received += bytes.length
    })
  }

  return {
    async open(job) {
      const lane = async (_, index) => {
        for (let opened = index; opened < job.streams; opened += atOnce) await open(job)
      }
      try {
        await Promise.all(Array.from({ length: atOnce }, lane))
        return { opened: sockets.size }
      } catch (error) {
        return { fault: error.message }
      }
    },
    received: async () => received,
    async close() {
      const closed = [...sockets].map((socket) => socket.destroyed || once(socket, 'close'))
      for (const socket of sockets) socket.destroy()
      sockets.clear()
      await Promise.all(closed)
    },
  }
}
