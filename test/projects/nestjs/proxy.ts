import { spawn } from 'node:child_process'
import { once } from 'node:events'

/** Starts the proxy in a process of its own, which may end; with options of the guard, behind it. */
export async function startProxy(upstreamUrl: string, guard?: object) {
  const child = spawn(process.execPath, ['out/main.js', upstreamUrl], {
    env: { ...process.env, GUARD: guard ? JSON.stringify(guard) : '' },
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  const exited = once(child, 'exit')
  const [port] = await Promise.race([once(child.stdout, 'data'), exited])
  return {
    port: Number(String(port)),
    /** The code with which it ends by itself. */
    exited: exited.then(([code]) => code as number | null),
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      await exited
    },
  }
}
