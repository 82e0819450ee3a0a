import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'

/** The example servers. The gate runs the one of `npm start`; `npm run test:examples` (`.ci/long`) runs all. */
export const exampleFiles =
  process.env.EXAMPLES === 'all'
    ? ['express-server.ts', 'fastify-server.ts', 'hono-server.ts', 'koa-server.ts']
    : ['express-server.ts']

export interface ExampleServer extends AsyncDisposable {
  readonly port: number
  readonly url: string
  readonly process: ChildProcess
  readonly output: () => string
}

function spawnExample(file: string, environment: Record<string, string> = {}): ChildProcess {
  return spawn(process.execPath, ['--import', 'tsx', `examples/${file}`], {
    env: { ...process.env, PORT: '0', NODE_OPTIONS: '', ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
}

/** Starts an example as `npm start` does, on a port of its own, and waits until it listens. */
export async function startExample(
  file: string,
  environment: Record<string, string> = {},
): Promise<ExampleServer> {
  const child = spawnExample(file, environment)
  let output = ''
  const port = await new Promise<number>((resolve, reject) => {
    const read = (text: Buffer) => {
      output += text
      const listening = output.match(/Listening on http:\/\/127\.0\.0\.1:(\d+)/)
      if (listening) resolve(Number(listening[1]))
    }
    child.stdout?.on('data', read)
    child.stderr?.on('data', read)
    child.once('exit', (code) => reject(new Error(`exit ${code}: ${output}`)))
  })
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    process: child,
    output: () => output,
    async [Symbol.asyncDispose]() {
      if (child.exitCode !== null || child.signalCode !== null) return
      child.kill('SIGKILL')
      await once(child, 'exit')
    },
  }
}

/** Runs an example that should not start. */
export async function failExample(file: string, environment: Record<string, string>) {
  const child = spawnExample(file, environment)
  let errors = ''
  child.stderr?.on('data', (text) => {
    errors += text
  })
  const [code] = await once(child, 'close')
  return { code, errors }
}
