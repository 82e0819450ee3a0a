import { type ChildProcess, spawn } from 'node:child_process'
import { channel } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { describe } from 'vitest'
import { testEndings } from '../support/contract/endings.js'
import { bugTrigger, jsonAnswer, type Mount, type MountedServer } from '../support/contract/mount.js'
import { testRequestId } from '../support/contract/request-id.js'
import { testSwitches } from '../support/contract/switches.js'
import { askHttp1 } from '../support/mounts.js'
import { hangUpApart } from './hang-up-apart.js'

/** How each runtime runs a program; `npx` fetches those that are not installed. */
const runtimes: Record<string, string[]> = {
  'Hono on node:http': [process.execPath],
  'Bun.serve': (process.env.BUN ?? 'npx -y bun').split(' '),
  'Deno.serve': [...(process.env.DENO ?? 'npx -y deno').split(' '), 'run', '--allow-all', '--quiet'],
}

const ways = {
  wrapApp: { kind: 'guard', detects: true },
  guardStreams: { kind: 'guard', detects: true },
  relayResponse: { kind: 'route', detects: false },
} as const

/** Serves `server.mjs`, and says here what it says of its streams. */
async function start(
  command: string[],
  args: string[],
  onEnd: Parameters<Mount['serve']>[1]['onEnd'],
): Promise<MountedServer> {
  const [program = '', ...first] = command
  const stdio = ['ignore', 'pipe', process.env.VERBOSE ? 'inherit' : 'ignore'] as const
  const child = spawn(program, [...first, 'test/runtimes/server.mjs', ...args], { stdio: [...stdio] })
  const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream })
  const port = await new Promise<number>((resolve, reject) => {
    child.once('exit', (code) => reject(new Error(`${program} ended with ${code}`)))
    lines.on('line', (line) => {
      if (!line.startsWith('{')) return
      const { port, end, name, message } = JSON.parse(line)
      if (port) resolve(port)
      if (end) onEnd(end)
      if (name) channel(`unhang:stream:${name}`).publish(message)
    })
  })
  return {
    ask: askHttp1(port),
    drain: () => Promise.reject(new Error('another process cannot be drained')),
    [Symbol.asyncDispose]: () => stop(child),
  }
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return
  child.kill('SIGKILL')
  await once(child, 'exit')
}

for (const [runtime, command] of Object.entries(runtimes)) {
  for (const [way, properties] of Object.entries(ways)) {
    const name = `${runtime}, ${way}`
    const mount: Mount = {
      ...properties,
      name,
      isFetch: true,
      releases: 'the upstream',
      async serve(upstreamUrl, { onEnd, options = {}, detect }) {
        const between = runtime === 'Bun.serve' ? await hangUpApart(upstreamUrl) : undefined
        const settings = JSON.stringify({ options, detect, bugTrigger, jsonAnswer })
        const server = await start(command, [way, between?.url ?? upstreamUrl, settings], onEnd)
        return {
          ...server,
          async [Symbol.asyncDispose]() {
            await server[Symbol.asyncDispose]()
            await between?.[Symbol.asyncDispose]()
          },
        }
      },
    }
    describe(name, () => {
      testEndings(mount)
      testRequestId(mount)
      testSwitches(mount)
    })
  }
}
