import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'

/** Stands between one process and Redis, and can hold back what that process sends. */
export class RedisGate {
  readonly port: number
  readonly #server: Server
  readonly #pairs = new Map<Socket, Socket>()
  #isHeld = false

  private constructor(server: Server, port: number) {
    this.#server = server
    this.port = (server.address() as AddressInfo).port
    server.on('connection', (client) => {
      const redis = connect(port, '127.0.0.1')
      this.#pairs.set(client, redis)
      redis.pipe(client)
      if (!this.#isHeld) client.pipe(redis)
      for (const socket of [client, redis]) {
        socket.on('error', () => {})
        socket.on('close', () => {
          this.#pairs.delete(client)
          client.destroy()
          redis.destroy()
        })
      }
    })
  }

  static async open(port: number): Promise<RedisGate> {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    return new RedisGate(server, port)
  }

  hold(): void {
    this.#isHeld = true
    for (const [client, redis] of this.#pairs) client.unpipe(redis)
  }

  letOn(): void {
    this.#isHeld = false
    for (const [client, redis] of this.#pairs) client.pipe(redis)
  }

  close(): void {
    for (const client of this.#pairs.keys()) client.destroy()
    this.#server.close()
  }
}
