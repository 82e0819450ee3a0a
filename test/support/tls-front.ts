import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import { certificate } from './certificate.js'

/** A server that speaks TLS, and passes all of it on to a port; a reset or an end of that is one of its own. */
export async function startTlsFront(port: number) {
  const sockets = new Set<Socket>()
  const server = createServer((raw) => {
    const behind = connect(port, '127.0.0.1')
    const front = new TLSSocket(raw, { isServer: true, ...certificate })
    for (const socket of [raw, front, behind]) {
      sockets.add(socket)
      socket.on('error', () => {})
    }
    // Over TLS itself there is no way to reset.
    behind.on('error', () => raw.resetAndDestroy())
    raw.on('close', () => behind.destroy())
    front.pipe(behind).pipe(front)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}
