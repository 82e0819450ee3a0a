import { spawn } from 'node:child_process'
import { once } from 'node:events'

/** Starts a fixture without the guard in a process of its own. */
export async function startFixtureProcess(name: string, upstreamUrl: string) {
  const program = ['--import', 'tsx', 'test/support/serve-fixture.ts']
  const child = spawn(process.execPath, [...program, name, upstreamUrl], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let trace = ''
  child.stderr.on('data', (text) => {
    trace += text
  })
  const closed = once(child, 'close')
  const [port] = await Promise.race([once(child.stdout, 'data'), closed])
  return {
    port: Number(String(port)),
    /** Waits for the process to end by itself. */
    async ended() {
      const [code] = await closed
      return { code, trace }
    },
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      await closed
    },
  }
}
