// What the guard costs a response that is no stream: CPU time of the server process per JSON response, with the
// guard and without, round by round in one run. `npm run bench:guard`.
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { Agent, createServer, request } from 'node:http'
import { fileURLToPath } from 'node:url'
import express from 'express'
import { wrapApp } from 'unhang/express'

const rounds = 10
const requestsPerRound = 1_000
const concurrency = 20
const agent = new Agent({ keepAlive: true, maxSockets: concurrency, timeout: 60_000 })

if (process.send) serve()
else await compare()

function serve() {
  const app = express().post('/v1/chat/completions', (_request, response) =>
    response.json({ object: 'chat.completion' }),
  )
  const server = createServer(process.argv[2] === 'guarded' ? wrapApp(app) : app)
  server.listen(0, '127.0.0.1', () => process.send({ port: server.address().port }))
  process.on('message', () => process.send({ cpu: process.cpuUsage() }))
}

async function compare() {
  const servers = await Promise.all(['bare', 'guarded'].map(startServer))
  const perRequest = { bare: [], guarded: [] }
  for (let round = -3; round < rounds; round++) {
    for (const server of round % 2 === 0 ? servers : [...servers].reverse()) {
      const before = await cpuOf(server)
      await load(server.port)
      const used = (await cpuOf(server)) - before
      // The first rounds warm the compilers up.
      if (round >= 0) perRequest[server.name].push(used / requestsPerRound)
    }
  }
  const ratios = perRequest.guarded.map((cost, round) => cost / perRequest.bare[round]).sort((a, b) => a - b)
  const quantile = (q) => ratios[Math.floor(q * (ratios.length - 1))].toFixed(3)
  console.log(`guarded / bare, CPU per JSON response, ${rounds} rounds of ${requestsPerRound}:`)
  console.log(`median ${quantile(0.5)}, quartiles ${quantile(0.25)} to ${quantile(0.75)}`)
  for (const { child } of servers) child.kill()
}

async function startServer(name) {
  const child = fork(fileURLToPath(import.meta.url), [name])
  const [{ port }] = await once(child, 'message')
  return { name, child, port }
}

async function cpuOf({ child }) {
  child.send('cpu')
  const [{ cpu }] = await once(child, 'message')
  return cpu.user + cpu.system
}

async function load(port) {
  let left = requestsPerRound
  const worker = async () => {
    while (left-- > 0) {
      await new Promise((resolve, reject) => {
        const options = { port, host: '127.0.0.1', path: '/v1/chat/completions', method: 'POST', agent }
        request(options, (response) => {
          if (response.statusCode !== 200) reject(new Error(`status ${response.statusCode}`))
          response.resume().on('end', resolve)
        })
          .on('error', reject)
          .end()
      })
    }
  }
  await Promise.all(Array.from({ length: concurrency }, worker))
}
