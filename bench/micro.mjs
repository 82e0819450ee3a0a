// Parts of the library by themselves, as ratios to plain code in the same run:
// `npm run bench:micro [-- --group encode,read,clock --rounds N --json]`. See README.md.
import { parseArgs } from 'node:util'
import { measure } from 'mitata'
import * as clock from './micro/clock.mjs'
import * as encode from './micro/encode.mjs'
import * as read from './micro/read.mjs'
import { chosen } from './rig/kinds.mjs'
import { quartiles } from './rig/quantile.mjs'

const { values: flags } = parseArgs({
  options: {
    group: { type: 'string' },
    rounds: { type: 'string', default: '7' },
    json: { type: 'boolean' },
  },
})
const groups = { encode, read, clock }
const rounds = Number(flags.rounds)
const effort = { min_cpu_time: 50e6, min_samples: 10 }

const results = []
for (const group of chosen('group', Object.keys(groups), flags.group)) {
  for (const { title, per = 1, plain, candidates } of groups[group].comparisons) {
    const ways = Object.entries({ plain, ...candidates })
    const nanoseconds = Object.fromEntries(ways.map(([name]) => [name, []]))
    // The first round warms the compilers up.
    for (let round = -1; round < rounds; round++) {
      for (const [name, way] of round % 2 === 0 ? ways : ways.toReversed()) {
        const { p50 } = await measure(way, effort)
        if (round >= 0) nanoseconds[name].push(p50 / per)
      }
    }
    for (const [name] of ways) {
      const ratio = quartiles(nanoseconds[name].map((time, round) => time / nanoseconds.plain[round]))
      results.push({ group, title, name, ratio, nanoseconds: quartiles(nanoseconds[name]).median })
      if (!flags.json) print(results.at(-1))
    }
  }
}
if (flags.json) console.log(JSON.stringify(results))
// A coordinator that is left over would keep its timer.
process.exit()

function print({ title, name, ratio: { median, from, to }, nanoseconds }) {
  const ratio = `${median.toFixed(2)} (${from.toFixed(2)}–${to.toFixed(2)})`
  console.log(
    `${title.padEnd(28)}${name.padEnd(30)}${ratio.padEnd(20)}${nanoseconds.toFixed(0).padStart(7)} ns`,
  )
}
