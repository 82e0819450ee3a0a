import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { freePort } from '../../support/free-port.js'

const run = promisify(execFile)

/** A real `redis-server` on loopback, of one test file. */
export class RedisServer {
  readonly port: number
  readonly #directory: string
  readonly #options: readonly string[]
  #child: ChildProcess | undefined

  private constructor(port: number, directory: string, options: readonly string[]) {
    this.port = port
    this.#directory = directory
    this.#options = options
  }

  /** @param options of the command line, such as `['--appendonly', 'yes']`; without, nothing is kept on disk */
  static async start(options: readonly string[] = []): Promise<RedisServer> {
    const directory = await mkdtemp(join(tmpdir(), 'unhang-redis-'))
    const server = new RedisServer(await freePort(), directory, options)
    await server.start()
    return server
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`
  }

  async start(): Promise<void> {
    const child = spawn(
      'redis-server',
      [
        '--port',
        String(this.port),
        '--bind',
        '127.0.0.1',
        '--save',
        '',
        '--dir',
        this.#directory,
        ...this.#options,
      ],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    )
    this.#child = child
    const failed = once(child, 'error').then(([error]) => {
      throw new Error(`redis-server does not start: apt-get install redis-server`, { cause: error })
    })
    await Promise.race([failed, this.#answers(child)])
  }

  /** Resolves when it says PONG, no longer loading what it had. */
  async #answers(child: ChildProcess): Promise<void> {
    while (child.exitCode === null) {
      if (await pings(this.port)) return
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    throw new Error(`redis-server ended with ${child.exitCode}`)
  }

  /** `SIGKILL` as a machine that fails, `SIGSTOP` as one that hangs, `SIGCONT`. */
  async kill(signal: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT' = 'SIGKILL'): Promise<void> {
    const child = this.#child
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    const gone = signal === 'SIGKILL' ? once(child, 'exit') : undefined
    child.kill(signal)
    await gone
  }

  /** One command of `redis-cli`. */
  async cli(...command: string[]): Promise<string> {
    return (await run('redis-cli', ['-p', String(this.port), ...command])).stdout.trim()
  }

  /** How often a command was carried out. */
  async calls(command: string): Promise<number> {
    const stats = await this.cli('info', 'commandstats')
    return Number(new RegExp(`cmdstat_${command}:calls=(\\d+)`).exec(stats)?.[1] ?? 0)
  }

  async close(): Promise<void> {
    await this.kill()
    await rm(this.#directory, { recursive: true, force: true })
  }
}

/** Three masters, without replicas: what a cluster does to channels and keys, it does with these. */
export class RedisClusterServer {
  readonly nodes: readonly RedisServer[]

  private constructor(nodes: readonly RedisServer[]) {
    this.nodes = nodes
  }

  static async start(): Promise<RedisClusterServer> {
    const start = async () => {
      // Nodes talk to each other on a second port, 10,000 above unless it is given.
      const bus = await freePort()
      return RedisServer.start([
        '--cluster-enabled',
        'yes',
        '--cluster-port',
        String(bus),
        '--cluster-node-timeout',
        '2000',
      ])
    }
    const nodes = await Promise.all([start(), start(), start()])
    const cluster = new RedisClusterServer(nodes)
    const addresses = nodes.map(({ port }) => `127.0.0.1:${port}`)
    await run('redis-cli', ['--cluster', 'create', ...addresses, '--cluster-replicas', '0', '--cluster-yes'])
    for (const node of nodes) {
      while (!(await node.cli('cluster', 'info')).includes('cluster_state:ok')) {
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
    }
    return cluster
  }

  get ports(): number[] {
    return this.nodes.map(({ port }) => port)
  }

  async close(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.close()))
  }
}

function pings(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => socket.write('PING\r\n'))
    socket.setTimeout(1_000, () => socket.destroy())
    socket.on('data', (bytes) => {
      resolve(bytes.includes('PONG'))
      socket.destroy()
    })
    socket.on('error', () => {})
    socket.on('close', () => resolve(false))
  })
}
