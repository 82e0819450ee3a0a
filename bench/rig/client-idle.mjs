// Streams that are opened and then left alone, for what they cost the proxy while nothing happens.
import { once } from 'node:events'
import { connect } from 'node:net'
import { sendRequest } from './client-answer.mjs'

const opensAtOnce = 50
const openWithinMs = 10_000

/** Tasks of the client: hold streams open, and let go of them. */
export function idleTasks() {
  const sockets = new Set()
  let received = 0

  /** Waits for the first event; a stalled client for no more than a sign that something has come. */
  function open(job) {
    return new Promise((resolve, reject) => {
      const socket = connect(job.port, '127.0.0.1')
      const patience = setTimeout(() => socket.destroy(new Error('no event in time')), openWithinMs)
      const opened = () => {
        clearTimeout(patience)
        resolve()
      }
      let text = ''
      sockets.add(socket)
      sendRequest(socket, job)
      if (job.stalled) socket.once('readable', opened)
      else {
        socket.on('data', (bytes) => {
          received += bytes.length
          if (text.includes(job.marker)) return
          text += bytes.toString('latin1')
          if (text.includes(job.marker)) opened()
        })
      }
      socket.on('error', reject)
      socket.on('close', () => reject(new Error(`closed after ${JSON.stringify(text.slice(0, 80))}`)))
    })
  }

  return {
    async open(job) {
      let left = job.streams
      let opened = 0
      const lane = async () => {
        for (; left-- > 0; opened++) await open(job)
      }
      try {
        await Promise.all(Array.from({ length: opensAtOnce }, lane))
        return {}
      } catch (error) {
        return { fault: `${opened} of ${job.streams} streams opened, then ${error.message}` }
      }
    },
    received: async () => ({ received }),
    async close() {
      const closed = [...sockets].map((socket) => socket.destroyed || once(socket, 'close'))
      for (const socket of sockets) socket.destroy()
      sockets.clear()
      await Promise.all(closed)
      return {}
    },
  }
}
