// What recording streams in Redis costs: CPU of this process and of Redis, commands, bytes and memory.
// node --import tsx bench/redis-store.mjs [--streams 200] [--seconds 10]
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { Redis } from 'ioredis'
import { createClient } from 'redis'
import { redisStore } from '../src/resume/redis/store.ts'
import { freePort } from './rig/free-port.mjs'

const { values } = parseArgs({
  options: { streams: { type: 'string', default: '200' }, seconds: { type: 'string', default: '10' } },
})
const streams = Number(values.streams)
const seconds = Number(values.seconds)
const eventsPerSecond = 25
const tickMs = 1_000 / eventsPerSecond

const words = ['the ', 'of ', 'stream', ' and', ' that', ' every', ' token', 's', '. ', ' which']
const event = (number) =>
  `data: {"id":"chatcmpl-AbC123dEf456GhI789","object":"chat.completion.chunk","created":1764432000,"model":"gpt-4o-mini-2024-07-18","system_fingerprint":"fp_0123456789","choices":[{"index":0,"delta":{"content":"${words[(number * 7) % 10]}"},"logprobs":null,"finish_reason":null}]}\n\n`

const about = {
  owner: 'x'.repeat(43),
  dialect: 'openai-chat',
  framing: 'sse',
  requestId: 'request-1',
  model: 'gpt-4o-mini',
  limits: { maxBytes: 1024 * 1024, maxEvents: 10_000, ttlMs: 60_000 },
}
const quiet = { stop() {}, fenced() {} }

async function startRedis() {
  const port = await freePort()
  const child = spawn('redis-server', ['--port', String(port), '--bind', '127.0.0.1', '--save', ''], {
    stdio: 'ignore',
  })
  for (;;) {
    const socket = connect(port, '127.0.0.1')
    const [ready] = await Promise.race([
      once(socket, 'connect').then(() => [true]),
      once(socket, 'error').then(() => [false]),
    ]).catch(() => [false])
    socket.destroy()
    if (ready) return { port, child }
    await wait(20)
  }
}

/** Redis' own statistics. */
async function look(redis) {
  const [cpu, stats, memory, commands] = await Promise.all(
    ['cpu', 'stats', 'memory', 'commandstats'].map((each) => redis.info(each)),
  )
  const number = (text, name) => Number(new RegExp(`${name}:([\\d.]+)`).exec(text)?.[1] ?? 0)
  return {
    cpuMs: 1_000 * (number(cpu, 'used_cpu_user') + number(cpu, 'used_cpu_sys')),
    inBytes: number(stats, 'total_net_input_bytes'),
    memory: number(memory, 'used_memory'),
    calls: Object.fromEntries(
      [...commands.matchAll(/cmdstat_(\S+?):calls=(\d+)/g)].map(([, name, calls]) => [name, Number(calls)]),
    ),
  }
}

/** @param store `undefined`: the same events, recorded nowhere */
async function measure(store, redis) {
  const recorders = await Promise.all(
    Array.from({ length: streams }, async (_, at) => store?.record(`bench-${at}`, about, quiet)),
  )
  const before = await look(redis)
  const cpu = process.cpuUsage()
  const begun = performance.now()
  let sent = 0
  // Each tick has a tenth of the streams, as sockets do: not all in one turn.
  const portions = 10
  for (let at = 0; at < seconds * eventsPerSecond * portions; at++) {
    for (let stream = at % portions; stream < streams; stream += portions) {
      const text = event(sent++)
      recorders[stream]?.append(text, 1)
    }
    const dueAt = begun + ((at + 1) * tickMs) / portions
    await wait(Math.max(0, dueAt - performance.now()))
  }
  const { user, system } = process.cpuUsage(cpu)
  await wait(400)
  const during = await look(redis)
  await Promise.all(recorders.map((each) => each?.end({ outcome: 'completed' })))
  const after = await look(redis)
  return { sent, cpuUs: (user + system) / sent, before, during, after }
}

const { port, child } = await startRedis()
const redis = new Redis(port, '127.0.0.1')
const node = await createClient({ url: `redis://127.0.0.1:${port}` }).connect()
const io = new Redis(port, '127.0.0.1')
try {
  await measure(redisStore(node, { prefix: 'warm' }), redis)
  for (let round = 0; round < 3; round++) {
    for (const [name, open] of [
      ['none', () => undefined],
      ['redis 6', () => redisStore(node)],
      ['redis 6, sealed', () => redisStore(node, { seal: new Uint8Array(32).fill(7) })],
      ['ioredis 6', () => redisStore(io)],
      ['redis 6, 50 ms', () => redisStore(node, { flushMs: 50 })],
    ]) {
      await redis.flushall()
      const { sent, cpuUs, before, during, after } = await measure(open(), redis)
      const calls = Object.entries(after.calls)
        .map(([each, count]) => [each, (count - (before.calls[each] ?? 0)) / streams])
        .filter(([each, count]) => count > 0.01 && each !== 'info')
        .map(([each, count]) => `${each} ${count.toFixed(1)}`)
        .join(', ')
      console.log(
        `${name.padEnd(16)} ${cpuUs.toFixed(1)} µs an event here, ${((1_000 * (during.cpuMs - before.cpuMs)) / sent).toFixed(2)} µs in Redis, ` +
          `${((during.inBytes - before.inBytes) / sent).toFixed(1)} B an event to Redis, ${((during.memory - before.memory) / streams / 1024).toFixed(1)} KiB a stream of ${sent / streams} events (${event(1).length} B each); a stream: ${calls}`,
      )
    }
  }
} finally {
  redis.disconnect()
  io.disconnect()
  node.destroy()
  child.kill()
}
