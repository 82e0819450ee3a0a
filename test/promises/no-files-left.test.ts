import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

const noFilesLeft = `
import { closeSync, openSync } from 'node:fs'
import http from 'node:http'
import axios from 'axios'
import got from 'got'
import nodeFetch from 'node-fetch'
import { request as undici } from 'undici'
import { openUpstream } from './dist/index.js'
// fetch refuses port 1 by itself.
const url = 'http://127.0.0.1:2'
const callers = {
  'node:http': () => new Promise((resolve, reject) => http.get(url, resolve).on('error', reject)),
  axios: () => axios.get(url),
  fetch: () => fetch(url),
  undici: () => undici(url),
  got: () => got(url, { retry: { limit: 0 } }),
  'node-fetch': () => nodeFetch(url),
}
const failure = (call) => openUpstream(call, { retries: 0 }).catch(({ outcome, retryable }) => [outcome, retryable])
// Modules that are loaded late are loaded now.
for (const call of Object.values(callers)) await failure(call)
const files = []
try { for (;;) files.push(openSync('/dev/null')) } catch {}
const failures = {}
for (const [name, call] of Object.entries(callers)) failures[name] = await failure(call)
for (const file of files) closeSync(file)
console.log(JSON.stringify(failures))
`

test('EMFILE: a process without files to open cannot reach its upstream, and may retry', async () => {
  const node = [process.execPath, '--input-type=module', '-e', noFilesLeft]
  const { stdout } = await promisify(execFile)('sh', ['-c', 'ulimit -n 256 && exec "$@"', 'sh', ...node])
  const unreachable = ['upstream_connect', true]
  expect(JSON.parse(stdout)).toEqual({
    'node:http': unreachable,
    axios: unreachable,
    fetch: unreachable,
    undici: unreachable,
    got: unreachable,
    'node-fetch': unreachable,
  })
})
