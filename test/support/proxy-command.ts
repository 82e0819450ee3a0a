import { spawn } from 'node:child_process'
import { once } from 'node:events'

/** `unhang proxy`, as it was built, in a process of its own, on a free port. */
export async function startProxyCommand(args: readonly string[], environment: NodeJS.ProcessEnv = {}) {
  const child = spawn(process.execPath, ['dist/cli.js', 'proxy', ...args], {
    env: { ...process.env, UNHANG_PORT: '0', ...environment },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let out = ''
  const waiting = new Set<() => void>()
  child.stdout.on('data', (text) => {
    out += text
    for (const wake of waiting) wake()
  })
  const closed = once(child, 'close')
  /** Waits until it prints something like this. */
  async function prints(pattern: RegExp): Promise<RegExpExecArray> {
    for (;;) {
      const found = pattern.exec(out)
      if (found) return found
      if (child.exitCode !== null) throw new Error(`unhang proxy ended:\n${out}`)
      await new Promise<void>((resolve) => {
        waiting.add(resolve)
        void closed.then(() => resolve())
      })
    }
  }
  const [, url = ''] = await prints(/^unhang proxy (http:\S+) -> /m)
  return {
    url,
    port: Number(new URL(url).port),
    process: child,
    prints,
    async ended() {
      const [code] = await closed
      return code
    },
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      await closed
    },
  }
}
