// CPU of a proxy for each event, as a ratio to the floor of its kind, round by round in one run:
// `npm run bench [-- --quick --json --target a,b …]`. See README.md.
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { plan } from './rig/kinds.mjs'
import { startSurroundings } from './rig/processes.mjs'
import { lineOf } from './rig/report.mjs'
import { Contest } from './rig/rounds.mjs'

const { values: flags } = parseArgs({
  options: {
    quick: { type: 'boolean' },
    peers: { type: 'boolean' },
    json: { type: 'boolean' },
    gate: { type: 'boolean' },
    kind: { type: 'string' },
    profile: { type: 'string' },
    text: { type: 'string' },
    target: { type: 'string' },
    rounds: { type: 'string' },
    events: { type: 'string' },
    prof: { type: 'string' },
  },
})
const contests = plan(flags)
const rounds = Number(flags.rounds ?? (flags.quick ? 3 : 5))
if (!(rounds >= 1)) throw new Error(`--rounds must be a number from 1, got ${flags.rounds}`)

const profileFolder = flags.prof && mkdtempSync(join(tmpdir(), `unhang-bench-${flags.prof}-`))
const execArgvOf = (name) => (name === flags.prof ? ['--cpu-prof', `--cpu-prof-dir=${profileFolder}`] : [])

const surroundings = await startSurroundings()
const results = []
if (!flags.json)
  console.log(
    'CPU relative to the first of its kind: median (quartiles); CPU, share of the core; latency p50, p99, as ratios',
  )
for (const each of contests) {
  const contest = new Contest(each, surroundings, execArgvOf)
  for (const load of each.cases) {
    for (const result of await contest.run(each, load, rounds)) {
      results.push(result)
      if (!flags.json) console.log(lineOf(result))
    }
  }
  await contest.stop()
}
await surroundings.stop()
if (flags.json) console.log(JSON.stringify(results))
if (profileFolder) console.error(`the profile of ${flags.prof} is in ${profileFolder}`)

// A blunder shows; noise does not.
if (flags.gate) {
  const limit = 1.5
  const gated = results.find(({ name, profile }) => name === 'unhang-translate' && profile === 'paced')
  if (!gated) throw new Error('--gate needs unhang-translate, paced')
  if (gated.ratio > limit) {
    console.error(
      `unhang-translate, paced, costs ${gated.ratio.toFixed(2)} times the floor; ${limit} is the limit`,
    )
    process.exitCode = 1
  }
}
