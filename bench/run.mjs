// CPU of a proxy for each event, as a ratio to the floor of its kind, round by round in one run:
// `npm run bench [-- --quick --json]`. See README.md.
import { fork, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'

const { values: flags } = parseArgs({
  options: {
    quick: { type: 'boolean' },
    json: { type: 'boolean' },
    gate: { type: 'boolean' },
    kind: { type: 'string' },
    profile: { type: 'string' },
    rounds: { type: 'string' },
    targets: { type: 'string' },
    events: { type: 'string' },
    text: { type: 'string' },
    prof: { type: 'string' },
  },
})

/** Targets by kind, the floor first. */
const kinds = {
  translate: ['minimal', 'unhang-translate', 'unhang-for-await'],
  pass: ['pipe', 'unhang-pass-through', 'naive', 'unhang-guarded'],
}
const load = flags.quick
  ? { paced: { streams: 100, events: 60 }, blast: { streams: 4, events: 20_000 }, rounds: 4 }
  : {
      paced: { streams: 100, events: 150 },
      burst: { streams: 100, events: 300 },
      blast: { streams: 4, events: 40_000 },
      rounds: 8,
    }
for (const name of Object.keys(kinds)) if (flags.kind && flags.kind !== name) delete kinds[name]
for (const name of Object.keys(load))
  if (name !== 'rounds' && flags.profile && flags.profile !== name) delete load[name]
if (flags.rounds) load.rounds = Number(flags.rounds)
if (flags.events) for (const n of Object.keys(load)) if (n !== 'rounds') load[n].events = Number(flags.events)
if (flags.targets) for (const name of Object.keys(kinds)) kinds[name] = flags.targets.split(',')
const texts = flags.text ? [flags.text] : flags.quick ? ['ascii'] : ['ascii', 'cjk']

const start = async (file, args = [], core) => {
  const child = fork(new URL(`rig/${file}`, import.meta.url), args, {
    execArgv:
      flags.prof && args[0] === flags.prof
        ? ['--cpu-prof', '--cpu-prof-dir=/tmp/prof', '--cpu-prof-interval=200']
        : [],
  })
  if (core !== undefined) pin(child.pid, core)
  const [message] = await once(child, 'message')
  return { child, ...message }
}

/** The proxies get a core for themselves, everything else the other one. */
function pin(pid, core) {
  const { status } = spawnSync('taskset', ['-a', '-cp', String(core), String(pid)])
  if (status !== 0)
    console.error('taskset is missing: processes are not pinned, and the figures will scatter')
}

/** CPU time of a process, all threads, in nanoseconds. */
function cpuOf({ pid }) {
  return readdirSync(`/proc/${pid}/task`).reduce((sum, task) => {
    const [ran] = readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8').split(' ')
    return sum + Number(ran)
  }, 0)
}

const upstream = await start('upstream.mjs', [], 1)
const client = await start('client.mjs', [], 1)
const names = [...new Set(Object.values(kinds).flat())]
const targets = {}
for (const name of names) targets[name] = await start('target.mjs', [name, String(upstream.port)], 0)

/** One round of one target: CPU for each event. */
async function measure(name, kind, profile, text) {
  const { streams, events } = load[profile]
  const { child, port } = targets[name]
  const before = cpuOf(child)
  client.child.send({
    port,
    query: `kind=${kind}&text=${text}&profile=${profile}&events=${events}`,
    streams,
    events,
  })
  const [{ wrong, example }] = await once(client.child, 'message')
  if (wrong > 0)
    throw new Error(`${name}, ${profile}: ${wrong} streams were not whole, say ${JSON.stringify(example)}`)
  return (cpuOf(child) - before) / (streams * events)
}

globalThis.COSTS = {}
const results = []
for (const [kind, all] of Object.entries(kinds)) {
  for (const profile of Object.keys(load).filter((name) => name !== 'rounds')) {
    for (const text of texts) {
      const [floor] = all
      const costs = Object.fromEntries(all.map((name) => [name, []]))
      for (let round = -1; round < load.rounds; round++) {
        for (const name of round % 2 === 0 ? all : [...all].reverse()) {
          const cost = await measure(name, kind, profile, text)
          // The first round warms the compilers up.
          if (round >= 0) costs[name].push(cost)
        }
      }
      for (const name of all) {
        globalThis.COSTS[kind + profile + name] = costs[name]
        const ratios = costs[name].map((cost, round) => cost / costs[floor][round]).sort((a, b) => a - b)
        const quantile = (q) => ratios[Math.round(q * (ratios.length - 1))]
        results.push({
          kind,
          profile,
          text,
          name,
          ratio: quantile(0.5),
          from: quantile(0.25),
          to: quantile(0.75),
        })
      }
    }
  }
}
for (const { child } of [upstream, client, ...Object.values(targets)]) child.kill('SIGINT')

if (flags.json) console.log(JSON.stringify(results))
else {
  console.log('CPU for each event, relative to the first of its kind: median (quartiles)')
  for (const { kind, profile, text, name, ratio, from, to } of results) {
    console.log(
      `${kind.padEnd(10)}${profile.padEnd(7)}${text.padEnd(7)}${name.padEnd(22)}${ratio.toFixed(2)} [${(Math.min(...globalThis.COSTS[kind + profile + name]) / 1000).toFixed(2)}us] (${from.toFixed(2)}–${to.toFixed(2)})`,
    )
  }
}

// A blunder shows; noise does not.
if (flags.gate) {
  const [{ ratio }] = results.filter(
    ({ name, profile }) => name === 'unhang-translate' && profile === 'paced',
  )
  if (ratio > 1.5) {
    console.error(`unhang-translate, paced, costs ${ratio.toFixed(2)} times the floor; 1.50 is the limit`)
    process.exit(1)
  }
}
