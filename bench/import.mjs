// CPU of importing, over an empty process, and what a bundle carries:
// `npm run bench:import [-- --rounds N --json]`. See README.md.
import { spawnSync } from 'node:child_process'
import { parseArgs } from 'node:util'
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'
import { quartiles } from './rig/quantile.mjs'

const { values: flags } = parseArgs({
  options: { rounds: { type: 'string', default: '21' }, json: { type: 'boolean' } },
})
const rounds = Number(flags.rounds)
const baseline = 'node:http'
const modules = [
  baseline,
  'unhang',
  'unhang/express',
  'eventsource-parser',
  'better-sse',
  'http-proxy-middleware',
]
const core = ['createSSEWriter', 'TimeoutCoordinator', 'coordinatedSocketCleanup', 'detectStreamingRequest']

const forms = {
  import: { type: 'module', load: (name) => `import ${JSON.stringify(name)}` },
  require: { type: 'commonjs', load: (name) => `require(${JSON.stringify(name)})` },
}

/** User and system time of a process that does nothing else, from its start to its end, in milliseconds. */
function cpuOf(type, source) {
  const { stdout, stderr, status } = spawnSync(
    process.execPath,
    [`--input-type=${type}`, '-e', `${source}\nprocess.once('exit', () => console.log(${usage}))`],
    { encoding: 'utf8' },
  )
  if (status !== 0) throw new Error(stderr)
  return Number(stdout) / 1_000
}
const usage = '(({ user, system }) => user + system)(process.cpuUsage())'

function measureImports(form) {
  const { type, load } = forms[form]
  const sources = { nothing: '', ...Object.fromEntries(modules.map((name) => [name, load(name)])) }
  const names = Object.keys(sources)
  const costs = Object.fromEntries(names.map((name) => [name, []]))
  // The first round warms the file system's cache up.
  for (let round = -1; round < rounds; round++) {
    for (const name of round % 2 === 0 ? names : names.toReversed()) {
      const cost = cpuOf(type, sources[name])
      if (round >= 0) costs[name].push(cost)
    }
  }
  const over = (name, round) => costs[name][round] - costs.nothing[round]
  const floor = quartiles(costs[baseline].map((_, round) => over(baseline, round))).median
  return modules.map((name) => {
    const ms = quartiles(costs[name].map((_, round) => over(name, round)))
    return { form, name, ms, ratio: ms.median / floor }
  })
}

/** Minified and tree-shaken; the dependencies are counted where they are bundled in. */
async function gzipSizeOf(names, external) {
  const { outputFiles } = await build({
    stdin: { contents: `export ${names} from 'unhang'`, resolveDir: import.meta.dirname },
    bundle: true,
    minify: true,
    format: 'esm',
    platform: 'node',
    external,
    write: false,
  })
  return gzipSync(outputFiles[0].contents, { level: 9 }).length
}

const dependencies = ['debug', 'eventsource-parser', 'p-timeout']
const sizes = []
for (const [name, names] of Object.entries({
  everything: '*',
  'the four primitives': `{ ${core.join(', ')} }`,
})) {
  sizes.push({ name, alone: await gzipSizeOf(names, dependencies), bundled: await gzipSizeOf(names, []) })
}
const imports = Object.keys(forms).flatMap(measureImports)

if (flags.json) console.log(JSON.stringify({ imports, sizes }))
else {
  console.log(`CPU over an empty process, ${rounds} processes each: median (quartiles), ratio to ${baseline}`)
  for (const { form, name, ms, ratio } of imports) {
    const spread = `${ms.median.toFixed(1)} ms (${ms.from.toFixed(1)}–${ms.to.toFixed(1)})`
    console.log(`${form.padEnd(9)}${name.padEnd(24)}${spread.padEnd(26)}${ratio.toFixed(2)}`)
  }
  console.log('\ngzip in bytes: without dependencies, with them')
  for (const { name, alone, bundled } of sizes) console.log(`${name.padEnd(24)}${alone}, ${bundled}`)
}
