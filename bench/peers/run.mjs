// Makes the table of docs/GAUNTLET.md: `npm run gauntlet:peers` builds, installs what is here, and runs this.
import { execFile, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { setTimeout as later } from 'node:timers/promises'
import { promisify } from 'node:util'
import { freePort } from '../rig/free-port.mjs'

const cli = new URL('../../dist/cli.js', import.meta.url).pathname
const page = new URL('../../docs/GAUNTLET.md', import.meta.url)
const names = [
  'http-proxy-middleware',
  'express-http-proxy',
  '@fastify/reply-from',
  'hono',
  'h3',
  'nginx',
  'unhang, a streaming route',
]
/** All the same for every peer; none but unhang has a deadline for the whole stream. */
const flags = ['--first-byte-ms', '60000', '--inactivity-ms', '60000', '--total-ms', '90000', '--json']

/** A peer that ends is started again, as a supervisor does. */
async function keepRunning(name, upstreamPort, port) {
  let child
  let isOver = false
  let restarts = -1
  const start = () => {
    if (isOver) return
    if (++restarts > 50) throw new Error(`${name} ends again and again`)
    const program = [new URL('serve.mjs', import.meta.url).pathname, name, upstreamPort, port]
    child = spawn(process.execPath, program, { stdio: ['ignore', 'ignore', 'ignore', 'ipc'] })
    child.once('exit', start)
  }
  start()
  for (;;) {
    const isUp = await fetch(`http://127.0.0.1:${port}/`).then(
      () => true,
      () => false,
    )
    if (isUp) break
    await later(100)
  }
  return {
    get restarts() {
      return restarts
    },
    async stop() {
      isOver = true
      child.kill()
      await once(child, 'exit')
    },
  }
}

async function run(name) {
  const [upstreamPort, port] = [await freePort(), await freePort()]
  const peer = await keepRunning(name, upstreamPort, port)
  try {
    const args = [
      cli,
      'gauntlet',
      `http://127.0.0.1:${port}/v1`,
      '--upstream-port',
      String(upstreamPort),
      ...flags,
    ]
    // It exits with 1 for what it finds.
    const { stdout, stderr } = await promisify(execFile)(process.execPath, args, {
      maxBuffer: 2 ** 26,
    }).catch((error) => error)
    if (!stdout) throw new Error(`${name}: ${stderr}`)
    return { name, restarts: peer.restarts, ...JSON.parse(stdout) }
  } finally {
    await peer.stop()
  }
}

function versionOf(name) {
  if (name === 'nginx') {
    const said = execFileSync('sh', ['-c', 'nginx -v 2>&1'], { encoding: 'utf8' })
    return /nginx\/(\S+)/.exec(said)[1]
  }
  const require = createRequire(import.meta.url)
  const packageName = name.replace(/,.*/, '')
  for (const folder of require.resolve.paths(packageName)) {
    try {
      return require(`${folder}/${packageName}/package.json`).version
    } catch {
      // Further up.
    }
  }
  return require('../../package.json').version
}

const reports = await Promise.all(names.map(run))
const rows = [
  ...new Map(reports.flatMap(({ results }) => results.map((each) => [`${each.mode} ${each.name}`, each]))),
]
const cell = (result) => {
  if (!result) return '–'
  const said = result.must.includes(result.verdict) && result.problem ? `${result.verdict}*` : result.verdict
  return result.passed ? said : `**${said}**`
}
const order = (name) => Number(name.slice(3, 5))
rows.sort(([one], [other]) => order(one) - order(other))
const table = [
  `| | ${reports.map(({ name }) => `${name} ${versionOf(name)}`).join(' | ')} |`,
  `|---|${reports.map(() => '---').join('|')}|`,
  ...rows.map(([key]) => {
    const cells = reports.map(({ results }) =>
      cell(results.find(({ mode, name }) => `${mode} ${name}` === key)),
    )
    return `| ${key} | ${cells.join(' | ')} |`
  }),
  `| passed | ${reports
    .map(({ results }) => `${results.filter(({ passed }) => passed).length} of ${results.length}`)
    .join(' | ')} |`,
  `| the process ended | ${reports.map(({ restarts }) => (restarts === 0 ? 'never' : `${restarts} times`)).join(' | ')} |`,
].join('\n')
const date = new Date().toISOString().slice(0, 10)
const made = `Made on ${date} with Node ${process.versions.node} by \`npm run gauntlet:peers\`.`
const text = await readFile(page, 'utf8')
await writeFile(
  page,
  text.replace(/(<!-- peers -->\n)[\s\S]*(\n<!-- \/peers -->)/, `$1\n${made}\n\n${table}\n$2`),
)
console.log(table)
for (const { name, leftOut } of reports) if (leftOut.length > 0) console.log(name, leftOut)
for (const { name, results } of reports)
  for (const { mode, name: trial, passed, verdict, evidence, problem } of results)
    if (!passed)
      console.log(`${name}: ${mode} ${trial}: ${verdict}, ${evidence}${problem ? `; ${problem}` : ''}`)
