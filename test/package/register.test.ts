import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { connect as connectHttp2 } from 'node:http2'
import { join, resolve } from 'node:path'
import { connect as connectTls } from 'node:tls'
import { pathToFileURL } from 'node:url'
import { describe, expect, test } from 'vitest'
import { faults, RawClient, rawRequest } from '../../src/testing/index.js'
import { certificate } from '../support/certificate.js'
import { failureOf, heartbeatPattern } from '../support/chat.js'
import { startUpstream } from '../support/scripted-upstream.js'
import { workshop } from '../support/workshop.js'

const flag = ['--import', 'unhang/register']

interface Start {
  flags?: string[]
  environment?: Record<string, string>
  upstream?: string
}

/** A server that knows nothing of unhang, in a process of its own. */
async function start(kind: string, { flags = flag, environment = {}, upstream = '' }: Start = {}) {
  const child = spawn(process.execPath, [...flags, 'test/programs/any-server.mjs', kind, upstream], {
    env: { ...process.env, NODE_OPTIONS: '', CERTIFICATE: JSON.stringify(certificate), ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let errors = ''
  let wake: () => void = () => {}
  child.stderr.on('data', (text) => {
    errors += text
    wake()
  })
  const closed = once(child, 'close')
  const [line] = await Promise.race([once(child.stdout, 'data'), closed])
  return {
    port: Number(/\d+$/m.exec(String(line))?.[0]),
    get errors() {
      return errors
    },
    /** Waits until it has printed this to stderr, and nothing else. */
    async prints(text: string) {
      while (errors.length < text.length) {
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }
      expect(errors).toBe(text)
    },
    /** Waits for it to end by itself. */
    ended: async () => (await closed)[0] as number,
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      await closed
    },
  }
}

const page = (port: number) => rawRequest({ port, method: 'GET', path: '/page' }).finished()

/** The text that a client got of an upstream that resets. */
async function failureAt(client: RawClient): Promise<string> {
  await client.finished()
  expect(client.body.complete).toBe(true)
  return failureOf(client.data).code
}

async function http2Failure(url: string): Promise<string> {
  const session = connectHttp2(url, { ca: certificate.cert, servername: 'localhost' } as object)
  const stream = session.request({ ':method': 'POST', ':path': '/v1/chat/completions' })
  let text = ''
  stream.setEncoding('utf8').on('data', (piece) => {
    text += piece
  })
  stream.end('{"stream":true}')
  await once(stream, 'close')
  session.destroy()
  expect(stream.rstCode).toBe(0)
  return failureOf([...text.matchAll(/^data: (.*)$/gm)].map(([, data]) => String(data))).code
}

const overTls = (port: number) =>
  new RawClient(connectTls({ port, ca: certificate.cert, servername: 'localhost' }))
const overHttp1 = (port: number) => failureAt(rawRequest({ port, body: { stream: true } }))
const overHttps = (port: number) => failureAt(overTls(port).send({ body: { stream: true } }))

describe('every server of a process is guarded', () => {
  test.each<[string, (port: number) => Promise<string>]>([
    ['http', overHttp1],
    ['https', overHttps],
    ['http2', (port) => http2Failure(`http://127.0.0.1:${port}`)],
    ['http2, secure', (port) => http2Failure(`https://127.0.0.1:${port}`)],
    ['http2, secure', overHttps],
    ['cluster', overHttp1],
    ['thread', overHttp1],
    ['express 4', overHttp1],
    ['express 4, async', overHttp1],
    ['express 5', overHttp1],
    ['express 5, async', overHttp1],
    ['wrapApp', overHttp1],
    ['handleStream', overHttp1],
  ])('%s', async (kind, ask) => {
    await using upstream = await startUpstream(faults.resetMidStream)
    await using server = await start(kind, { upstream: upstream.url })
    expect(await ask(server.port)).toBe('connection_reset')
  })

  test('without the flag, the same upstream ends the process', async () => {
    await using upstream = await startUpstream(faults.resetMidStream)
    await using server = await start('http', { upstream: upstream.url, flags: [] })
    using client = await rawRequest({ port: server.port, body: { stream: true } }).closed()
    expect(client.body.complete).toBe(false)
    expect(await server.ended()).toBe(1)
  })

  const file = (name: string) => resolve('dist', name)
  test.each<[string, Start]>([
    ['--require', { flags: ['--require', 'unhang/register'] }],
    [
      'NODE_OPTIONS, from a folder of its own',
      { flags: [], environment: { NODE_OPTIONS: `--import ${pathToFileURL(file('register.js'))}` } },
    ],
    [
      'NODE_OPTIONS with --require',
      { flags: [], environment: { NODE_OPTIONS: `--require ${file('register.cjs')}` } },
    ],
    ['both, which are two copies', { flags: ['--require', 'unhang/register', ...flag] }],
  ])('%s', async (_how, how) => {
    await using upstream = await startUpstream(faults.resetMidStream)
    await using server = await start('http', { ...how, upstream: upstream.url })
    expect(await overHttp1(server.port)).toBe('connection_reset')
    expect(server.errors.match(/unhang\/register/g)).toHaveLength(1)
  })
})

describe('nothing else is changed', () => {
  test.each(['net', 'upgrade'])('%s', async (kind) => {
    const seen: string[] = []
    for (const flags of [[], flag]) {
      await using server = await start(kind, { flags })
      using client = rawRequest({
        port: server.port,
        method: 'GET',
        path: '/echo',
        headers: { Connection: 'Upgrade', Upgrade: 'echo' },
      })
      if (kind === 'upgrade') await client.received('101 ')
      client.socket.write('data: no stream\n\n')
      seen.push((await client.received('no stream\n\n')).text)
    }
    expect(seen[1]).toBe(seen[0])
  })

  test('a page', async () => {
    const seen: string[] = []
    for (const flags of [[], flag]) {
      await using server = await start('http', { flags })
      using client = await page(server.port)
      seen.push(client.text.replace(/^Date: .*$/m, ''))
    }
    expect(seen[1]).toBe(seen[0])
    expect(seen[0]).toContain('a page')
  })

  test.each([
    ['http', 'the process ends'],
    ['http, with captureRejections', 500],
  ])('a page that fails in %s: %s', async (kind, what) => {
    for (const flags of [[], flag]) {
      await using server = await start(kind, { flags })
      using client = rawRequest({ port: server.port, method: 'GET', path: '/fails' })
      if (typeof what === 'number') expect((await client.finished()).status).toBe(what)
      else {
        expect(await server.ended()).toBe(1)
        expect(server.errors).toContain('a page that fails')
        expect((await client.closed()).text).toBe('')
      }
    }
  })
})

describe('options', () => {
  test('UNHANG_OPTIONS is JSON', async () => {
    await using upstream = await startUpstream(faults.stalled)
    const environment = { UNHANG_OPTIONS: '{"timeouts":{"inactivityMs":200}}' }
    await using server = await start('http', { environment, upstream: upstream.url })
    expect(await overHttp1(server.port)).toBe('upstream_inactivity_timeout')
  })

  test.each([
    ['options.mjs', 'export default { onEnd: ({ outcome }) => console.error("ended: " + outcome) }'],
    ['options.cjs', 'module.exports = { onEnd: ({ outcome }) => console.error("ended: " + outcome) }'],
  ])('UNHANG_CONFIG names a module: %s', async (name, text) => {
    await using place = await workshop()
    const path = join(place.folder, name)
    await writeFile(path, text)
    await using upstream = await startUpstream(faults.truncated)
    for (const flags of [flag, ['--require', 'unhang/register']]) {
      await using server = await start('http', {
        flags,
        environment: { UNHANG_CONFIG: path, UNHANG_QUIET: '1' },
        upstream: upstream.url,
      })
      expect(await overHttp1(server.port)).toBe('upstream_truncated')
      await server.prints('ended: upstream_truncated\n')
    }
  })

  test('UNHANG_CONFIG with resume: streams are recorded', async () => {
    await using place = await workshop()
    const path = join(place.folder, 'options.mjs')
    const text = `import { createResume } from 'unhang/resume'
      export default {
        resume: createResume({ owner: false }),
        onEnd: ({ streamId, recorded }) => console.error('stream ' + streamId + ', recorded: ' + recorded),
      }`
    await writeFile(path, text)
    await using upstream = await startUpstream(faults.truncated)
    const environment = { UNHANG_CONFIG: path, UNHANG_QUIET: '1' }
    await using server = await start('http', { environment, upstream: upstream.url })
    using client = rawRequest({ port: server.port, body: { stream: true } })
    expect(await failureAt(client)).toBe('upstream_truncated')
    await server.prints(`stream ${client.header('unhang-stream')}, recorded: true\n`)
  })

  test('they are the defaults of an app that guards itself: one guard, no warning', async () => {
    await using upstream = await startUpstream(faults.stalled)
    const environment = {
      UNHANG_OPTIONS: '{"writer":{"heartbeatMs":100},"timeouts":{"inactivityMs":60000}}',
      UNHANG_QUIET: '1',
    }
    await using server = await start('wrapApp', { environment, upstream: upstream.url })
    using client = rawRequest({ port: server.port, body: { stream: true } })
    expect(await failureAt(client)).toBe('upstream_inactivity_timeout')
    expect(client.bodyText).toMatch(heartbeatPattern)
    expect(server.errors).toBe('')
  })

  test.each<[Record<string, string>, string]>([
    [{ UNHANG_OPTIONS: '{"timeouts":' }, 'UNHANG_OPTIONS: the options must be JSON, got "{\\"timeouts\\":"'],
    [
      { UNHANG_OPTIONS: '{"timeouts":{"totalMs":"long"}}' },
      'UNHANG_OPTIONS: timeouts.totalMs must be a number of milliseconds above 0, or false or Infinity for never; got "long"',
    ],
    [
      { UNHANG_OPTIONS: '{"timeout":{}}' },
      'UNHANG_OPTIONS: options.timeout is not an option; did you mean timeouts: { totalMs }?',
    ],
    [{ UNHANG_OPTIONS: '7' }, 'UNHANG_OPTIONS: options must be an object, got 7'],
    [
      { UNHANG_CONFIG: '/not/there.mjs' },
      "UNHANG_CONFIG: Error MODULE_NOT_FOUND: Cannot find module '/not/there.mjs'",
    ],
    [
      { UNHANG_OPTIONS: '{}', UNHANG_CONFIG: 'here.mjs' },
      'write either UNHANG_OPTIONS or UNHANG_CONFIG, not both',
    ],
  ])('%j: one line, and the app runs without a guard', async (environment, message) => {
    await using server = await start('http', { environment: { ...environment, UNHANG_QUIET: '1' } })
    expect((await page(server.port)).status).toBe(200)
    const [line = '', ...more] = server.errors.trimEnd().split('\n')
    expect(line).toMatch('unhang: the servers of this process are not guarded. ')
    expect(line).toContain(message)
    expect(more).toEqual([])
  })
})

describe('the lines that it prints', () => {
  test('one line, when the first server listens', async () => {
    await using server = await start('http')
    await server.prints(
      'unhang: the servers of this process are guarded (unhang/register); UNHANG_QUIET=1 hides this line\n',
    )
    expect((await page(server.port)).status).toBe(200)
  })

  test('nothing, with UNHANG_QUIET', async () => {
    await using server = await start('http', { environment: { UNHANG_QUIET: '1' } })
    expect((await page(server.port)).status).toBe(200)
    expect(server.errors).toBe('')
  })

  test.each([{}, { UNHANG_OPTIONS: '{' }])(
    'nothing, in a process without a server: %j',
    async (environment) => {
      await using none = await start('none', { environment: environment as Record<string, string> })
      expect(await none.ended()).toBe(0)
      expect(none.errors).toBe('')
    },
  )
})
