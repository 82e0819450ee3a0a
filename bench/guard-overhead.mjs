// What the guard costs a response that is no stream: CPU of the server for each JSON response, without the guard, with
// a plain one, and with ours, which looks at upstream calls or does not, round by round in one run. `npm run bench:guard [-- --rounds N --prof]`.
import { mkdtempSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { cores, cpuOf, startProcess, stopProcess } from './rig/processes.mjs'
import { quartiles } from './rig/quantile.mjs'

const { values: flags } = parseArgs({ options: { rounds: { type: 'string' }, prof: { type: 'boolean' } } })
const rounds = Number(flags.rounds ?? 40)
const warmUps = 6
/** Then the servers are fresh ones: see `Contest`. */
const roundsOfAServer = 7
const names = ['bare', 'plain', 'unadopted', 'guarded']
const requestsPerRound = 500
const concurrency = 20
const agent = new Agent({ keepAlive: true, maxSockets: concurrency, timeout: 60_000 })

const profileFolder = flags.prof && mkdtempSync(join(tmpdir(), 'unhang-bench-guard-'))
const start = async (name) => {
  const execArgv = flags.prof && name === 'guarded' ? ['--cpu-prof', `--cpu-prof-dir=${profileFolder}`] : []
  return { name, ...(await startProcess('json-app.mjs', { args: [name], execArgv, core: cores.proxy })) }
}
const costs = Object.fromEntries(names.map((name) => [name, []]))
for (let block = 0; block * roundsOfAServer < rounds; block++) {
  const left = rounds - block * roundsOfAServer
  const servers = []
  for (const name of block % 2 === 0 ? names : names.toReversed()) servers.push(await start(name))
  for (let round = -warmUps; round < Math.min(roundsOfAServer, left); round++) {
    for (const server of round % 2 === 0 ? servers : servers.toReversed()) {
      const before = cpuOf(server)
      await load(server.port)
      if (round >= 0) costs[server.name].push((cpuOf(server) - before) / requestsPerRound)
    }
  }
  for (const server of servers) await stopProcess(server)
}
agent.destroy()
const micros = (nanoseconds) => (nanoseconds / 1_000).toFixed(1)
console.log(`CPU for each JSON response, ${rounds} rounds of ${requestsPerRound}: median and quartiles`)
for (const name of names) {
  const ratio = quartiles(costs[name].map((cost, round) => cost / costs.bare[round]))
  const spread = `${ratio.median.toFixed(3)} (${ratio.from.toFixed(3)} to ${ratio.to.toFixed(3)})`
  const cost = quartiles(costs[name])
  console.log(
    `${name.padEnd(11)}${spread.padEnd(26)}${micros(cost.median)} µs (${micros(cost.from)} to ${micros(cost.to)})`,
  )
}
if (profileFolder) console.error(`the profile is in ${profileFolder}`)

async function load(port) {
  let left = requestsPerRound
  const worker = async () => {
    while (left-- > 0) await post(port)
  }
  await Promise.all(Array.from({ length: concurrency }, worker))
}

function post(port) {
  return new Promise((resolve, reject) => {
    const options = { port, host: '127.0.0.1', path: '/v1/chat/completions', method: 'POST', agent }
    request(options, (response) => {
      if (response.statusCode !== 200) reject(new Error(`status ${response.statusCode}`))
      response.resume().on('end', resolve)
    })
      .on('error', reject)
      .end()
  })
}
