import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { resolve } from 'node:path'

/** Where `npm run test:frameworks` has put the frameworks. */
const project = resolve('.frameworks')

/** How an app is started, as its framework's users do. */
export interface AppCommand {
  /** The arguments of Node. */
  readonly args: readonly string[]
  readonly environment?: Record<string, string>
  /** Another program than Node. */
  readonly program?: string
}

/** An app in a process of its own, which may end. */
export interface RunningApp extends AsyncDisposable {
  readonly port: number
  /** Whether its process has ended by itself. */
  readonly hasEnded: boolean
  /** Resolves when it has. */
  readonly ended: Promise<void>
  /** Waits for a line that it prints to stderr. */
  prints(pattern: RegExp): Promise<string>
  /** All that it has printed. */
  readonly output: string
}

/** @param flags the arguments of Node before the app */
export async function startApp(
  { args, environment, program = process.execPath }: AppCommand,
  more: { flags?: readonly string[]; environment?: Record<string, string | undefined> } = {},
): Promise<RunningApp> {
  const child = spawn(program, [...(more.flags ?? []), ...args], {
    cwd: project,
    env: {
      ...process.env,
      NODE_OPTIONS: '',
      NEXT_TELEMETRY_DISABLED: '1',
      ...environment,
      ...more.environment,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  const waiting = new Set<() => void>()
  const wake = () => {
    for (const each of waiting) each()
    waiting.clear()
  }
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (text) => {
      output += text
      wake()
    })
  }
  let hasEnded = false
  const closed = once(child, 'close').then(() => {
    hasEnded = true
    wake()
  })
  const prints = async (pattern: RegExp) => {
    for (;;) {
      const [, found] = output.match(pattern) ?? []
      if (found !== undefined) return found
      if (hasEnded) throw new Error(`${args.join(' ')} ended, and printed:\n${output}`)
      await new Promise<void>((resolve) => waiting.add(resolve))
    }
  }
  const port = Number(await prints(/(?:listening on |Local: +http:\/\/[\w.]+:)(\d+)/))
  return {
    port,
    prints,
    ended: closed,
    get hasEnded() {
      return hasEnded
    },
    get output() {
      return output
    },
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      await closed
    },
  }
}
