import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { Worker } from 'node:worker_threads'

const listenAndSleep = `
  const { parentPort } = require('node:worker_threads')
  const server = require('node:net').createServer()
  server.listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => {
    parentPort.postMessage(server.address().port)
    // Once the message is out this thread never accepts anything.
    setImmediate(() => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0))
  })
`

/** A port that takes no connection and refuses none: its queue is full, and stays so. */
export async function synBlackhole(): Promise<{ port: number } & AsyncDisposable> {
  const worker = new Worker(listenAndSleep, { eval: true })
  const [port] = (await once(worker, 'message')) as [number]
  const fillers: Socket[] = []
  for (let connecting = 0; connecting < 2; ) {
    const filler = connect(port, '127.0.0.1').on('error', () => {})
    fillers.push(filler)
    const connected = await Promise.race([
      once(filler, 'connect').then(() => true),
      // A loopback connection that has not come after this long is one that waits in vain.
      new Promise<boolean>((resolve) => setTimeout(resolve, 100, false)),
    ])
    if (!connected) connecting++
  }
  return {
    port,
    async [Symbol.asyncDispose]() {
      for (const filler of fillers) filler.destroy()
      await worker.terminate()
    },
  }
}
