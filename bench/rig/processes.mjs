// The processes of the bench: started on a core of their own, asked things, and stopped whatever happens.
import { fork, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'

/** The proxies have a core for themselves; everything else shares the other one. */
export const cores = { proxy: 0, others: 1 }

const running = new Set()
// Those that were left over by a failure: a child ends when its channel does.
process.on('exit', () => {
  for (const { child } of running) child.kill()
})

/**
 * Starts a file of the rig, which reports its port or that it is ready.
 *
 * @throws Error with what it said of its error if it ends instead
 */
export async function startProcess(file, { args = [], execArgv = [], core }) {
  const url = new URL(file, import.meta.url)
  const child = fork(url, args.map(String), { execArgv, stdio: ['ignore', 'ignore', 'pipe', 'ipc'] })
  const started = { child, pids: [child.pid], stderr: '' }
  child.stderr.setEncoding('utf8').on('data', (text) => {
    started.stderr = (started.stderr + text).slice(-4_000)
  })
  running.add(started)
  child.once('exit', () => running.delete(started))
  pin(child.pid, core)
  Object.assign(started, await answerOf(started))
  for (const pid of started.pids) pin(pid, core)
  return started
}

/** Asks a process and waits for its answer. */
export function ask(process, question = 'memory') {
  if (!process.child.connected) return Promise.reject(ended(process))
  process.child.send(question)
  return answerOf(process)
}

async function answerOf(process) {
  const { child } = process
  const waiting = new AbortController()
  const { signal } = waiting
  try {
    return await Promise.race([
      once(child, 'message', { signal }).then(([message]) => message),
      once(child, 'close', { signal }).then(() => Promise.reject(ended(process))),
    ])
  } finally {
    waiting.abort()
  }
}

function ended({ stderr }) {
  const lines = stderr.trim().split('\n')
  return new Error(`the process has ended: ${lines.find((line) => /\bError\b/.test(line)) ?? lines.at(-1)}`)
}

/** Lets a process end by itself, so that its profile gets written. */
export async function stopProcess({ child }) {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, 'exit')
  child.kill('SIGINT')
  await exited
}

let isUnpinned = false

function pin(pid, core) {
  const { status } = spawnSync('taskset', ['-a', '-cp', String(core), String(pid)])
  if (status === 0 || isUnpinned) return
  isUnpinned = true
  console.error('taskset did not work: processes are not pinned, and the figures will scatter')
}

/** CPU time of a process, all its threads and those of its workers, in nanoseconds. */
export function cpuOf({ pids }) {
  let sum = 0
  for (const pid of pids) {
    for (const task of readdirSync(`/proc/${pid}/task`)) {
      const [ran] = readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8').split(' ')
      sum += Number(ran)
    }
  }
  return sum
}

/** The upstream and the client, which all targets share. */
export async function startSurroundings() {
  const [upstream, client] = await Promise.all([
    startProcess('upstream.mjs', { core: cores.others }),
    startProcess('client.mjs', { core: cores.others }),
  ])
  let jobs = 0
  const run = async (task, job) => {
    jobs++
    const { id, result } = await ask(client, { id: jobs, task, ...job })
    if (id !== jobs) throw new Error('the client reported another job')
    return result
  }
  return { upstream, run, stop: () => Promise.all([upstream, client].map(stopProcess)) }
}
