import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

const apartMs = 100

/**
 * Stands before an upstream, and lets its hang-up come some time after its last bytes. Bun's `fetch` loses bytes that come in
 * one piece with a hang-up, also without unhang; what has not reached unhang cannot reach a client.
 */
export async function hangUpApart(upstreamUrl: string): Promise<{ url: string } & AsyncDisposable> {
  const { port: upstreamPort } = new URL(upstreamUrl)
  const sockets = new Set<Socket>()
  const server = createServer({ allowHalfOpen: true }, (near) => {
    const far = connect({ port: Number(upstreamPort), host: '127.0.0.1', allowHalfOpen: true })
    for (const socket of [near, far]) sockets.add(socket.on('error', () => {}))
    near.pipe(far, { end: false })
    far.pipe(near, { end: false })
    far.once('end', () => setTimeout(() => near.destroySoon(), apartMs))
    far.once('close', (hadError) => hadError && near.resetAndDestroy())
    near.once('end', () => far.end()).once('close', () => far.destroy())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      server.close()
    },
  }
}
