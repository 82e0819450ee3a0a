import { type ChildProcess, spawn } from 'node:child_process'
import { channel } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { describe, expect, test } from 'vitest'
import type { StreamEnd } from '../../src/index.js'
import { chatEvents, eventsIn, readSome, user } from '../resume/resumable.js'
import { testEndings } from '../support/contract/endings.js'
import { bugTrigger, jsonAnswer, type Mount, type MountedServer } from '../support/contract/mount.js'
import { testRequestId } from '../support/contract/request-id.js'
import { testSwitches } from '../support/contract/switches.js'
import { askHttp1 } from '../support/mounts.js'
import { startUpstream } from '../support/scripted-upstream.js'
import { withResolvers } from '../support/with-resolvers.js'
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
  guardResponse: { kind: 'guard', detects: false, isLate: true },
  relayResponse: { kind: 'route', detects: false },
} as const

/** Serves `server.mjs`, and says here what it says of its streams. */
async function start(
  [program = '', ...first]: string[],
  args: string[],
  onEnd: Parameters<Mount['serve']>[1]['onEnd'],
): Promise<MountedServer & { url: string }> {
  const stdio = ['ignore', 'pipe', process.env.VERBOSE ? 'inherit' : 'ignore'] as const
  const command = [...first, 'test/runtimes/server.mjs', ...args]
  // The leader of a group: npx runs the runtime in a process of its own, which outlives it.
  const child = spawn(program, command, { stdio: [...stdio], detached: true })
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
    url: `http://127.0.0.1:${port}`,
    ask: askHttp1(port),
    drain: () => Promise.reject(new Error('another process cannot be drained')),
    [Symbol.asyncDispose]: () => stop(child),
  }
}

/** What a client of a recorded stream is promised, wherever its server runs. */
function testResume(command: string[], way: string): void {
  test('a client whose connection was cut rejoins its stream: 62 of 62', async () => {
    const events = chatEvents(62)
    const gate = withResolvers()
    await using upstream = await startUpstream(async (exchange) => {
      exchange.open().data(...events.slice(0, 31))
      await gate.promise
      exchange.data(...events.slice(31)).end()
    })
    const ends: StreamEnd[] = []
    const settings = JSON.stringify({ options: {}, isResumable: true })
    await using server = await start(command, [way, upstream.url, settings], (end) => ends.push(end))
    const chat = `${server.url}/v1/chat/completions`
    const body = JSON.stringify({ stream: true })
    const first = await readSome(chat, { method: 'POST', headers: user, body }, 10)
    const url = `${server.url}/v1/streams/${first.response.headers.get('unhang-stream')}`
    first.leave()
    const rejoin = (headers: Record<string, string>) =>
      fetch(`${url}?after=${first.events.length}`, { headers })
    const rest = await rejoin(user)
    expect((await rejoin({ 'x-user': 'bob' })).status).toBe(404)
    gate.resolve()
    expect([...first.events, ...eventsIn(await rest.text())]).toEqual(events)
    expect((await fetch(url, { method: 'DELETE', headers: user })).status).toBe(204)
    await expect
      .poll(() => ends, { timeout: 10_000 })
      .toContainEqual(expect.objectContaining({ outcome: 'completed', detached: true, events: 62 }))
  })

  test('a stop ends it, and lets its upstream go', async () => {
    const left = withResolvers()
    await using upstream = await startUpstream((exchange) => {
      exchange.socket.on('close', () => left.resolve())
      exchange.open().data(...chatEvents(62).slice(0, 31))
    })
    const settings = JSON.stringify({ options: {}, isResumable: true })
    await using server = await start(command, [way, upstream.url, settings], () => true)
    const body = JSON.stringify({ stream: true })
    const init = { method: 'POST', headers: user, body }
    const first = await fetch(`${server.url}/v1/chat/completions`, init)
    const url = `${server.url}/v1/streams/${first.headers.get('unhang-stream')}`
    expect((await fetch(url, { method: 'DELETE', headers: user })).status).toBe(204)
    expect(await first.text()).toContain('"request_aborted"')
    await left.promise
  })
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.pid === undefined) return
  process.kill(-child.pid, 'SIGKILL')
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
      testResume(command, way)
    })
  }
}
