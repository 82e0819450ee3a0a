import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'

const run = promisify(execFile)

const stream = `
const server = http.createServer((_request, response) => {
  handleStream(response, async ({ writer }) => writer.write({ data: 'x' }))
}).listen(0, '127.0.0.1', () => {
  http.get({ port: server.address().port }, (answer) => answer.resume().on('end', () => server.close()))
})
`
const esm = `import http from 'node:http'; import { handleStream } from './dist/index.js';`
const cjs = `const http = require('node:http'); const { handleStream } = require('./dist/index.cjs');`

/** The lines of a program on stderr. */
async function stderrOf(code: string, type: 'module' | 'commonjs', DEBUG?: string): Promise<string> {
  const { DEBUG: _own, ...env } = process.env
  const args = [`--input-type=${type}`, '-e', code]
  const { stderr } = await run(process.execPath, args, { env: { ...env, ...(DEBUG ? { DEBUG } : {}) } })
  return stderr
}

describe.each<[string, 'module' | 'commonjs', string]>([
  ['ESM', 'module', esm],
  ['CommonJS', 'commonjs', cjs],
])('%s: what debug shows', (_name, type, start) => {
  test('all of a stream, in order, where the environment says so', async () => {
    const lines = (await stderrOf(start + stream, type, 'unhang:*')).trim().split('\n')
    expect(lines[0]).toMatch(/unhang:stream .*: start/)
    expect(lines.at(-1)).toMatch(/unhang:stream .*: completed, 1 events/)
  })

  test('also where the program says so', async () => {
    const enable =
      type === 'module'
        ? `import debug from 'debug'; debug.enable('unhang:stream');`
        : `require('debug').enable('unhang:stream');`
    expect(await stderrOf(enable + start + stream, type)).toMatch(/: completed, 1 events/)
  })

  test('nothing else', async () => {
    expect(await stderrOf(start + stream, type)).toBe('')
    expect(await stderrOf(start + stream, type, 'other:*')).toBe('')
  })
})

test('each retry, in a stream and outside of one', async () => {
  const retried = `
    import { openUpstream } from './dist/index.js'
    let calls = 0
    const upstream = http.createServer((_request, response) => {
      const isBusy = ++calls % 2 === 1
      response.writeHead(isBusy ? 503 : 200, { 'retry-after': '0', 'content-type': 'text/event-stream' })
      response.end('data: x\\n\\n')
    }).listen(0, '127.0.0.1', async () => {
      const open = ({ signal }) => fetch('http://127.0.0.1:' + upstream.address().port, { signal })
      await (await openUpstream(open)).text()
      const server = http.createServer((_request, response) => {
        handleStream(response, async ({ relay, openUpstream }) => relay(await openUpstream(open)))
      }).listen(0, '127.0.0.1', async () => {
        await (await fetch('http://127.0.0.1:' + server.address().port)).text()
        for (const each of [server, upstream]) each.close().closeAllConnections()
      })
    })
  `
  const lines = (await stderrOf(esm + retried, 'module', 'unhang:stream')).trim().split('\n')
  const why = 'UpstreamError upstream_error: The upstream responded with status 503.'
  expect(lines[0]).toMatch(new RegExp(`unhang:stream retry 1 in 0 ms, after ${why}`))
  expect(lines[2]).toMatch(new RegExp(`unhang:stream [\\w-]+: retry 1 in 0 ms, after ${why}`))
})

test('no line holds a secret, or controls a terminal, whatever a client or a handler says', async () => {
  const hostile = `
    const controls = '\\u001b[2J\\r\\nforged \\u009b\\u2028'
    const refusal = Object.assign(new Error('no' + controls), { expose: true, status: 400, code: 'x' + controls, key: 'sk-secret' })
    const bug = Object.assign(new Error('bug' + controls + ' of https://me:sk-secret@example.com/?key=sk-secret'), {
      config: { headers: { Authorization: 'Bearer sk-secret' } }, cause: { key: 'sk-secret', message: controls },
    })
    const failures = [refusal, bug, controls, { key: 'sk-secret' }]
    const server = http.createServer((_request, response) => {
      const failure = failures.shift()
      handleStream(response, async ({ openUpstream }) => {
        await openUpstream(async () => new Response(new ReadableStream(), { headers: { 'content-type': 'text/event-stream' } }))
        throw failure
      }, { model: 'gpt' + controls })
    }).listen(0, '127.0.0.1', async () => {
      const url = 'http://127.0.0.1:' + server.address().port
      while (failures.length > 0) await (await fetch(url, { headers: { 'x-request-id': 'id;sk-secret' } })).text()
      server.close().closeAllConnections()
    })
  `
  const stderr = await stderrOf(esm + hostile, 'module', 'unhang:*')
  expect(stderr).toMatch(/model "gpt\\u001b\[2J\\r\\nforged/)
  expect(stderr).toMatch(/: internal, x\\u001b\[2J\\u000d forged/)
  expect(stderr).toMatch(/unhang:cleanup .*: no\\u001b\[2J\\u000d forged/)
  expect(stderr).toContain('the handler failed: Error: bug')
  expect(stderr).not.toContain('sk-secret')
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not be there
  expect(stderr).not.toMatch(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u2028]/)
})

test('an app that does not use debug does not pay for it', async () => {
  const loaded = `; process.on('exit', () => console.error(Object.keys(require.cache).filter((file) => /debug/.test(file))))`
  expect(await stderrOf(cjs + stream + loaded, 'commonjs')).toBe('[]\n')
})
