import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startExample } from '../support/example-server.js'
import { freePort } from '../support/free-port.js'

const run = promisify(execFile)
let folder: string

// The package as it would be published, installed as a stranger does.
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'unhang-command-'))
  const { stdout } = await run('npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', folder])
  const [{ filename }] = JSON.parse(stdout.slice(stdout.indexOf('[')))
  await writeFile(join(folder, 'package.json'), '{"private":true}')
  await run('npm', ['install', '--no-audit', '--no-fund', '--prefer-offline', filename], { cwd: folder })
}, 120_000)
afterAll(() => rm(folder, { recursive: true }))

const npx = (...args: string[]) => run('npx', ['unhang', ...args], { cwd: folder })

test('npx unhang gauntlet and doctor, from the tarball', async () => {
  const upstreamPort = String(await freePort())
  await using example = await startExample('express-server.ts', {
    QOLABA_API: 'openai',
    QOLABA_API_KEY: 'k',
    QOLABA_BASE_URL: `http://127.0.0.1:${upstreamPort}/v1`,
  })
  const args = [`${example.url}/v1`, '--upstream-port', upstreamPort, '--model', 'gpt-4o']
  expect((await npx('gauntlet', ...args, '--quick')).stdout).toMatch(/openai: (\d+) of \1 passed\.\n$/)
  expect((await npx('doctor', ...args, '--faults')).stdout).toMatch(/No cause of hang-ups was found\.\n$/)
})

/** A command that serves until it is stopped; its first line of output names the URL. */
async function serving(pattern: RegExp, ...args: string[]) {
  const child = spawn('npx', ['unhang', ...args], { cwd: folder, detached: true })
  let text = ''
  for await (const piece of child.stdout) {
    text += piece
    if (pattern.test(text)) break
  }
  const [url = ''] = pattern.exec(text) ?? []
  return {
    url,
    async [Symbol.asyncDispose]() {
      if (child.exitCode !== null) return
      process.kill(-(child.pid as number), 'SIGTERM')
      await once(child, 'exit')
    },
  }
}

const chat = (model: string) => ({ method: 'POST', body: JSON.stringify({ model, stream: true }) })

test('npx unhang upstream, from the tarball', async () => {
  await using upstream = await serving(/http:\S+(?=,)/, 'upstream', '--port', '0')
  const { status } = await fetch(`${upstream.url}/v1/chat/completions`, chat('fault:rateLimited'))
  expect(status).toBe(429)
})

test('npx unhang proxy, from the tarball', async () => {
  await using upstream = await serving(/http:\S+(?=,)/, 'upstream', '--port', '0')
  await using proxy = await serving(/http:\S+(?= ->)/, 'proxy', upstream.url, '--port', '0')
  const url = `${proxy.url}/v1/chat/completions`
  expect(await (await fetch(url, chat('any'))).text()).toMatch(/data: \[DONE\]\n\n$/)
  const broken = await (await fetch(url, chat('fault:resetMidStream'))).text()
  expect(broken).toContain('"code":"connection_reset"')
})
