import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { examine } from '../../src/doctor/doctor.js'
import { type ExampleServer, startExample } from '../support/example-server.js'
import { freePort } from '../support/free-port.js'
import { snippets } from '../support/guide-programs.js'
import { rawRequest } from '../support/raw-client.js'

/** nginx with a `location` of a page, in front of a server. */
async function startNginx(location: string) {
  const folder = await mkdtemp(join(tmpdir(), 'unhang-nginx-'))
  const port = await freePort()
  const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((name) => `${name}_temp_path ${folder}/${name};`)
    .join(' ')
  await writeFile(
    join(folder, 'nginx.conf'),
    `daemon off; pid ${folder}/pid; error_log stderr;
    events {}
    http { access_log off; ${paths} server { listen 127.0.0.1:${port}; ${location} } }`,
  )
  const child = spawn('nginx', ['-e', 'stderr', '-c', join(folder, 'nginx.conf')], { stdio: 'inherit' })
  // It says nothing when it listens.
  await expect.poll(() => fetch(`http://127.0.0.1:${port}/`).then(({ status }) => status)).toBe(200)
  return {
    port,
    async [Symbol.asyncDispose]() {
      child.kill()
      await once(child, 'exit')
      await rm(folder, { recursive: true })
    },
  }
}

let example: ExampleServer
let location: string
beforeAll(async () => {
  example = await startExample('express-server.ts')
  const [snippet = ''] = await snippets('docs/TROUBLESHOOTING.md', 'nginx')
  location = snippet.replace('http://127.0.0.1:3000', example.url)
})
afterAll(() => example?.[Symbol.asyncDispose]())

const chat = {
  model: 'gpt-4o-mini',
  stream: true,
  messages: [{ role: 'user', content: 'Count.' }],
}

test('the doctor has no finding behind the nginx of the page', async () => {
  await using nginx = await startNginx(location)
  const { checks } = await examine(`http://127.0.0.1:${nginx.port}/v1`, {})
  expect(checks.filter(({ outcome }) => outcome === 'finding')).toEqual([])
})

test('nothing is held back there', async () => {
  await using nginx = await startNginx(location)
  using client = await rawRequest({ port: nginx.port, path: '/v1/chat/completions', body: chat }).finished()
  expect(client.status).toBe(200)
  expect(client.data.at(-1)).toBe('[DONE]')
  const [first = 0] = client.arrivalsMs
  // It comes in pieces: what is held back comes in one.
  expect(client.arrivalsMs.filter((at) => at > first).length).toBeGreaterThan(3)
})
