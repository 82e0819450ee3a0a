import { createHash } from 'node:crypto'
import { createServer, type IncomingMessage } from 'node:http'
import express from 'express'
import { chatAnswer } from './chat.js'
import { chatPath } from './fixtures.js'
import { listenOn } from './proxy.js'
import { wire } from './wire.js'

async function digest(request: IncomingMessage) {
  const hash = createHash('sha256')
  let bytes = 0
  for await (const chunk of request) {
    hash.update(chunk)
    bytes += chunk.length
  }
  return { type: request.headers['content-type'], bytes, sha256: hash.digest('hex') }
}

/** The working server behind a proxy, beside its chats. */
export function startOrigin() {
  const app = express()
    // Some proxies know of one URL.
    .post(['/', chatPath], (request, response) => {
      const { want } = request.query
      if (want === 'json') response.json({ choices: [{ message: { content: 'Hello' } }] })
      else if (want === 'refusal') response.status(429).set('Retry-After', '7').json({ error: 'too many' })
      else if (want === 'reset') request.socket.resetAndDestroy()
      else if (want === 'bytes') response.type('audio/mpeg').send(Buffer.from([0xff, 0xfb, 0x00, 0x0d, 0x0a]))
      else {
        response.set({
          'Content-Type': 'text/event-stream',
          'Cache-Control': 'no-cache',
          'X-Of-Upstream': 'yes',
        })
        response.end(wire(...chatAnswer('Hel', 'lo')))
      }
    })
    .post('/upload', async (request, response) => response.json(await digest(request)))
    .use(express.static('docs'))
  const server = createServer(app)
  server.on('upgrade', (_request, socket) => {
    socket.write(
      'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello ',
    )
    socket.pipe(socket)
  })
  return listenOn(server)
}
