// What streams cost on which nothing happens, and what is left of those that are over:
// `npm run bench:idle [-- --part memory,clock --target a,b --streams 1000,9900 --seconds 20 --json]`. See README.md.
import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import * as clock from './idle/clock.mjs'
import * as leak from './idle/leak.mjs'
import * as memory from './idle/memory.mjs'
import * as stalled from './idle/stalled.mjs'
import { chosen } from './rig/kinds.mjs'

const { values: flags } = parseArgs({
  options: {
    part: { type: 'string' },
    target: { type: 'string' },
    streams: { type: 'string', default: '1000,10000' },
    seconds: { type: 'string', default: '20' },
    clients: { type: 'string', default: '4' },
    json: { type: 'boolean' },
  },
})

const passing = [
  'pipe',
  'pipe-paused',
  'pipe-signal',
  'unhang-pass-through',
  'unhang-guarded',
  'http-proxy-middleware',
  'httpxy',
]
const translating = [
  'minimal',
  'minimal-paused',
  'unhang-translate',
  'parser-and-write',
  'better-sse',
  'fastify-sse',
]
// @fastify/reply-from has 128 connections to the upstream, and nginx has no heap to ask for.
const targets = [...passing, 'fetch-for-await', 'hono-proxy', ...translating, 'hono-stream-sse', 'ai-sdk']
const clocks = ['clock-pipe', 'clock-unhang']
const parts = { memory, stalled, leak, clock }

const seconds = Number(flags.seconds)
const wanted = chosen('target', targets, flags.target)
const clients = Number(flags.clients)
if (!(clients >= 1)) throw new Error(`--clients must be a number from 1, got ${flags.clients}`)
const counts = flags.streams.split(',').map(Number)
const runsOf = {
  memory: () => counts.map((count) => ({ streams: withinLimit(count), targets: wanted })),
  stalled: () => [{ clients, targets: wanted }],
  leak: () => [{ targets: wanted }],
  clock: () => [{ streams: withinLimit(Math.max(...counts)), seconds, targets: clocks }],
}

/** Node has raised its own limit to the hard one; a proxy has two sockets for each stream. */
function withinLimit(streams) {
  if (!(streams >= 1)) throw new Error(`--streams must be numbers from 1, got ${flags.streams}`)
  const [, hard] = readFileSync('/proc/self/limits', 'utf8').match(/^Max open files\s+\S+\s+(\d+)/m) ?? []
  const most = Math.floor((Number(hard ?? Number.POSITIVE_INFINITY) - 100) / 2)
  if (streams > most) console.error(`${streams} streams need more open files than ${hard}; ${most} it is`)
  return Math.min(streams, most)
}

const results = []
for (const part of chosen('part', Object.keys(parts), flags.part)) {
  const { title, measure, describe } = parts[part]
  for (const { targets, ...conditions } of runsOf[part]()) {
    const { streams } = conditions
    if (!flags.json) console.log(`\n${title}${streams ? ` (${streams} streams)` : ''}`)
    for (const name of targets) {
      const figures = await measure(name, conditions).catch(({ message }) => ({ failed: message }))
      results.push({ part, name, ...conditions, ...figures })
      if (!flags.json)
        console.log(`${name.padEnd(22)}${figures.failed ? `failed: ${figures.failed}` : describe(figures)}`)
    }
  }
}
if (flags.json) console.log(JSON.stringify(results))
// A peer that fails is a result; ours is a fault.
if (results.some(({ name, failed }) => failed && /unhang/.test(name))) process.exitCode = 1
