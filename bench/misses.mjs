// What an event costs apart from the kernel, the same in each run: instructions of the proxy in user mode and misses of
// the first caches, as valgrind counts them. `npm run bench:misses [-- --target a,b]`; needs valgrind.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { chosen, kinds, markerOf, targetsOf } from './rig/kinds.mjs'
import { startProcess, startSurroundings, stopProcess } from './rig/processes.mjs'

const { values: flags } = parseArgs({ options: { target: { type: 'string' } } })
const standard = Object.values(kinds).flatMap(({ floor, bounds, ours }) => [floor, ...bounds, ...ours])
const names = flags.target
  ? chosen('target', Object.values(kinds).flatMap(targetsOf), flags.target)
  : standard

/** Few and slow enough for a processor that is only simulated. */
const lanes = 4
const warmUpEvents = 3_000
/** What more events cost is all that counts, not what starting and setting up does. */
const [few, many] = [100, 700]

const folder = mkdtempSync(join(tmpdir(), 'unhang-bench-misses-'))
// The first caches of an AMD EPYC.
const caches = ['--cache-sim=yes', '--I1=65536,4,64', '--D1=32768,8,64', '--LL=524288,8,64']
const surroundings = await startSurroundings()
console.log('for each event, in user mode: instructions, misses of the first instruction and data cache')
for (const [kind, every] of Object.entries(kinds)) {
  let floor
  for (const name of targetsOf(every).filter((each) => names.includes(each))) {
    const [less, more] = [await count(kind, name, few), await count(kind, name, many)]
    const counted = more.map((figure, at) => (figure - less[at]) / (lanes * (many - few)))
    floor ??= counted
    const figures = counted.map((figure, at) => `${figure.toFixed(0)} (${(figure / floor[at]).toFixed(2)})`)
    console.log(`${name.padEnd(22)}${figures.map((figure) => figure.padStart(15)).join('')}`)
  }
}
await surroundings.stop()
rmSync(folder, { recursive: true })

/** @returns instructions and misses of one process */
async function count(kind, name, events) {
  const file = join(folder, name)
  const execArgv = ['--tool=cachegrind', ...caches, `--cachegrind-out-file=${file}`, process.execPath]
  const args = [name, surroundings.upstream.port]
  const target = await startProcess('target.mjs', { args, execPath: 'valgrind', execArgv, core: 0 })
  for (const each of [warmUpEvents, events]) await load(target, kind, name, each)
  await stopProcess(target)
  return sumsIn(readFileSync(file, 'utf8'))
}

/** Without what V8 compiles meanwhile, which comes to an end. */
function sumsIn(text) {
  const columns = /^events: (.*)$/m.exec(text)[1].split(' ')
  const sums = columns.map(() => 0)
  let isCompiler = false
  for (const line of text.split('\n')) {
    if (line.startsWith('fn=')) isCompiler = /v8::internal::(?:compiler|baseline|interpreter)::/.test(line)
    else if (/^\d/.test(line) && !isCompiler) {
      for (const [at, figure] of line.split(' ').slice(1).entries()) sums[at] += Number(figure)
    }
  }
  const sumOf = (column) => sums[columns.indexOf(column)]
  return [sumOf('Ir'), sumOf('I1mr'), sumOf('D1mr') + sumOf('D1mw')]
}

async function load({ port }, kind, name, events) {
  const path = `/v1/chat/completions?kind=${kind}&text=ascii&profile=paced&events=${events}`
  const job = {
    lanes,
    events,
    answersPerLane: 1,
    timed: true,
    limitMs: 180_000,
    text: 'ascii',
    kind,
    profile: 'paced',
  }
  const { fault } = await surroundings.run('load', { ...job, path, port, marker: markerOf(name) })
  if (fault) throw new Error(`${name}: ${fault}`)
}
