import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'

/** Starts Redis, two example servers and nginx on free ports of this machine, and starts again what dies. */
const folder = mkdtempSync(join(tmpdir(), 'unhang-scale-out-'))
const [port, redisPort, ...proxyPorts] = await freePorts(4)
const children = new Map<string, ChildProcess>()
let isStopping = false

process.once('SIGINT', stop).once('SIGTERM', stop)
keepRunning('redis-server', ['--port', `${redisPort}`, '--bind', '127.0.0.1', '--save', '', '--dir', folder])
await listening(redisPort as number)
for (const [at, proxyPort] of proxyPorts.entries()) {
  const name = String(at + 1)
  keepRunning('node', ['--import', 'tsx', 'examples/express-server.ts'], name, {
    PORT: String(proxyPort),
    RESUME: `redis://127.0.0.1:${redisPort}`,
    PLAYGROUND_PROCESS: name,
  })
}
keepRunning('nginx', ['-e', 'stderr', '-p', folder, '-c', writeConfiguration()])
await Promise.all([port, ...proxyPorts].map((each) => listening(each as number)))
console.log(`Listening on http://127.0.0.1:${port}, in front of ${proxyPorts.join(' and ')}`)

/** The configuration as it stands in this folder, with the free ports, and with files where every user may write. */
function writeConfiguration(): string {
  const text = readFileSync(new URL('nginx.conf', import.meta.url), 'utf8')
    .replaceAll('127.0.0.1:8080', `127.0.0.1:${port}`)
    .replaceAll('127.0.0.1:3001', `127.0.0.1:${proxyPorts[0]}`)
    .replaceAll('127.0.0.1:3002', `127.0.0.1:${proxyPorts[1]}`)
  const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (each) => `${each}_temp_path ${each};`,
  )
  const file = join(folder, 'nginx.conf')
  writeFileSync(
    file,
    `daemon off; pid nginx.pid; error_log stderr crit;\n${text.replace('http {', `http {\n  ${paths.join('\n  ')}`)}`,
  )
  return file
}

function keepRunning(
  command: string,
  options: string[],
  name = command,
  environment: NodeJS.ProcessEnv = {},
): void {
  const file = command === 'node' ? process.execPath : command
  const env = { ...process.env, ...environment }
  const child = spawn(file, options, { env, stdio: ['ignore', 'ignore', 'inherit'] })
  children.set(name, child)
  child.once('error', ({ message }) => {
    console.error(`${message}: apt-get install redis-server nginx-light`)
    void stop()
  })
  child.once('exit', (code, signal) => {
    if (isStopping) return
    console.log(`${name} ended with ${signal ?? code}; it is started again`)
    // Long enough to see that the other one does its work meanwhile.
    setTimeout(() => !isStopping && keepRunning(command, options, name, environment), 1_000)
  })
}

async function stop(): Promise<void> {
  isStopping = true
  const running = [...children.values()].filter(
    ({ pid, exitCode, signalCode }) => pid && exitCode === null && !signalCode,
  )
  for (const child of running) child.kill('SIGTERM')
  await Promise.all(running.map((child) => once(child, 'exit')))
  rmSync(folder, { recursive: true, force: true })
  process.exit()
}

async function listening(to: number): Promise<void> {
  for (;;) {
    const socket = connect(to, '127.0.0.1')
    const isThere = await once(socket, 'connect').then(
      () => true,
      () => false,
    )
    socket.destroy()
    if (isThere) return
    await wait(50)
  }
}

/** All at once, so that no two are the same. */
async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'))
  await Promise.all(servers.map((server) => once(server, 'listening')))
  const ports = servers.map((server) => (server.address() as AddressInfo).port)
  await Promise.all(servers.map((server) => once(server.close(), 'close')))
  return ports
}
