import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { describe, expect, test } from 'vitest'
import { faults, rawRequest } from '../../src/testing/index.js'
import { exampleFiles, startExample } from '../support/example-server.js'
import { freePort } from '../support/free-port.js'

function start(args: string[], environment: Record<string, string> = {}) {
  const child = spawn(process.execPath, ['dist/cli.js', ...args], { env: { ...process.env, ...environment } })
  const text = { out: '', error: '' }
  child.stdout.on('data', (piece) => {
    text.out += piece
  })
  child.stderr.on('data', (piece) => {
    text.error += piece
  })
  return { child, text }
}

async function unhang(...args: string[]) {
  const { child, text } = start(args)
  const [status] = await once(child, 'close')
  return { status, ...text }
}

/** Runs `unhang upstream` for as long as it is needed. */
async function startUpstreamCommand(args: string[], environment: Record<string, string> = {}) {
  const { child, text } = start(['upstream', '--port', '0', ...args], environment)
  await expect.poll(() => text.out, { timeout: 20_000 }).toMatch(/Listening on \S+:\d+/)
  return {
    port: Number(/:(\d+)/.exec(text.out)?.[1]),
    text,
    async stop(signal: NodeJS.Signals) {
      child.kill(signal)
      return await once(child, 'exit')
    },
    async [Symbol.asyncDispose]() {
      if (child.exitCode === null) child.kill('SIGKILL')
    },
  }
}

const ask = (port: number, model: string, more: object = {}) =>
  rawRequest({ port, body: { model, stream: true, ...more } }).finished()

/** An example as a proxy in front of the upstream that a command plays. */
async function startProxy(file: string, environment: Record<string, string> = {}) {
  const upstreamPort = await freePort()
  const example = await startExample(file, {
    QOLABA_API: 'openai',
    QOLABA_API_KEY: 'k',
    QOLABA_BASE_URL: `http://127.0.0.1:${upstreamPort}/v1`,
    TIMEOUT_FIRST_BYTE_MS: '2000',
    TIMEOUT_INACTIVITY_MS: '2500',
    TIMEOUT_TOTAL_MS: '9000',
    ...environment,
  })
  return { example, upstreamPort: String(upstreamPort), url: `${example.url}/v1` }
}
const told = ['--first-byte-ms', '3000', '--inactivity-ms', '3000', '--total-ms', '10000']

describe('the help', () => {
  test.each([['--help'], ['doctor', '--help'], ['upstream', '-h'], ['gauntlet', '--help']])(
    'of %s %s fits a screen',
    async (...args) => {
      const { status, out, error } = await unhang(...args.filter(Boolean))
      expect({ status, error }).toEqual({ status: 0, error: '' })
      const lines = out.split('\n')
      expect(lines.length).toBeLessThanOrEqual(30)
      for (const line of lines) expect(line.length).toBeLessThanOrEqual(120)
    },
  )

  test('lists the commands', async () => {
    const { out } = await unhang('--help')
    for (const name of ['doctor', 'gauntlet', 'upstream'])
      expect(out).toMatch(new RegExp(`^ {2}${name} `, 'm'))
  })

  test('of upstream lists the faults and the paths', async () => {
    const { out } = await unhang('upstream', '--help')
    for (const name of Object.keys(faults)) expect(out).toMatch(new RegExp(`\\b${name}\\b`))
    for (const path of ['/v1/chat/completions', '/v1/responses', '/v1/messages', '/api/chat'])
      expect(out).toContain(path)
  })
})

describe('unhang upstream', () => {
  test('has the fault that the model says, until it is stopped', async () => {
    await using upstream = await startUpstreamCommand(['--verbose'])
    using good = await ask(upstream.port, 'any')
    expect(good.data.at(-1)).toBe('[DONE]')
    using truncated = await ask(upstream.port, 'fault:truncated')
    expect(truncated.body.complete).toBe(true)
    expect(truncated.data.at(-1)).not.toBe('[DONE]')
    using json = await ask(upstream.port, 'any', { stream: false })
    expect(JSON.parse(json.bodyText).choices[0].message.content).toBe('Hello')
    using unknown = await ask(upstream.port, 'fault:nonsense')
    expect(unknown.status).toBe(404)
    expect(unknown.bodyText).toContain('fault:resetMidStream')
    using models = await rawRequest({ port: upstream.port, method: 'GET', path: '/v1/models' }).finished()
    expect(JSON.parse(models.bodyText).data.map(({ id }: { id: string }) => id)).toContain('fault:stalled')
    expect(upstream.text.out).toContain('"POST /v1/chat/completions HTTP/1.1" model "fault:truncated"')
    expect(await upstream.stop('SIGTERM')).toEqual([0, null])
  })

  test('has one fault for all, says words first, and is set by the environment', async () => {
    const words = ['--words', 'one two', '--word-ms', '1']
    await using upstream = await startUpstreamCommand(words, { UNHANG_FAULT: 'errorMidStream' })
    using client = await ask(upstream.port, 'any')
    expect(client.bodyText).toMatch(/"one".*" two".*"error"/s)
    expect(await upstream.stop('SIGINT')).toEqual([0, null])
  })

  test('listens where the flags say', async () => {
    const port = await freePort()
    const { child, text } = start(['upstream', '--port', String(port), '--host', '::1'])
    await expect.poll(() => text.out, { timeout: 20_000 }).toContain(`Listening on http://[::1]:${port},`)
    const again = await unhang('upstream', '--port', String(port), '--host', '::1')
    expect(again).toMatchObject({ status: 1, error: expect.stringMatching(/^.*EADDRINUSE.*\n$/) })
    child.kill()
    await once(child, 'exit')
  })

  test.each([
    [['--fault', 'resetMidstream'], /^--fault must be one of all, good, .*; got "resetMidstream"\n$/],
    [['--port', 'x'], /^--port must be a port from 0 to 65535; got "x"\n$/],
    [['--word-ms', '-'], /^--word-ms must be milliseconds, a whole number from 1; got "-"\n$/],
    [['http://127.0.0.1'], /^unhang upstream takes flags only/],
  ])('refuses %j in one line', async (args, message) => {
    expect(await unhang('upstream', ...args)).toEqual({
      status: 1,
      out: '',
      error: expect.stringMatching(message),
    })
  })
})

describe('unhang gauntlet', () => {
  test.each(exampleFiles)(
    'passes %s whole',
    async (file) => {
      const { example, upstreamPort, url } = await startProxy(file)
      await using _example = example
      const args = ['--upstream-port', upstreamPort, '--model', 'gpt-4o', ...told]
      const { status, out, error } = await unhang('gauntlet', url, ...args)
      expect(out).not.toContain('FAIL')
      expect(out).toMatch(/^Sends at most 37 requests to /)
      expect(out).toMatch(/\nunhang gauntlet \d+\.\d+\.\d+, \d{4}-\d\d-\d\d, openai: 35 of 35 passed\.\n$/)
      expect({ status, error }).toEqual({ status: 0, error: '' })
    },
    60_000,
  )

  test('shows what a client got, and exits with 1 for a finding', async () => {
    const { example, upstreamPort, url } = await startProxy('express-server.ts', {
      PROXY_KEY: 'secret-key-of-mine',
    })
    await using _example = example
    const args = [
      '--upstream-port',
      upstreamPort,
      '--quick',
      '--only',
      'FM-15',
      '--model',
      'gpt-4o',
      '--verbose',
    ]
    const refused = await unhang('gauntlet', url, ...args)
    expect(refused).toMatchObject({ status: 1, out: expect.stringMatching(/^Sends at most 4 /) })
    expect(refused.error).toMatch(/^The proxy did not call http:.*\n$/)
    const { status, out } = await unhang('gauntlet', url, ...args, '--key', 'secret-key-of-mine')
    expect(out).toMatch(/^ {6}\| HTTP\/1\.1 200 OK$/m)
    expect(out).not.toContain('secret-key')
    expect(status).toBe(0)
  })

  test('as JSON, and nothing else', async () => {
    const { example, upstreamPort, url } = await startProxy('express-server.ts')
    await using _example = example
    // Sooner than the proxy, so that there is a finding.
    const args = [
      '--upstream-port',
      upstreamPort,
      '--model',
      'gpt-4o',
      '--only',
      'FM-06',
      '--inactivity-ms',
      '100',
    ]
    const { status, out } = await unhang('gauntlet', url, ...args, '--json', '--verbose')
    const { api, requests, results, leftOut } = JSON.parse(out)
    expect({ status, api, requests, leftOut }).toEqual({ status: 1, api: 'openai', requests: 2, leftOut: [] })
    expect(results[1]).toMatchObject({ mode: 'FM-06', verdict: 'hang', must: ['reported'], passed: false })
    expect(results[1].wire).toContain('HTTP/1.1 200 OK')
  })

  test.each([
    [
      ['http://127.0.0.1:1/v1', '--only', 'FM15'],
      '--only must be a number of docs/FAILURE-MODES.md, say FM-15; got FM15',
    ],
    [
      ['http://127.0.0.1:1/v1', '--skip', '15'],
      '--skip must be a number of docs/FAILURE-MODES.md, say FM-15; got 15',
    ],
    [
      ['http://127.0.0.1:1/v1', '--api', 'x'],
      '--api must be one of openai, openaiResponses, anthropic, gemini, ollama; got "x"',
    ],
    [
      ['http://127.0.0.1:1/v1', '--total-ms', '0'],
      '--total-ms must be milliseconds, a whole number from 1, or false, got 0',
    ],
    [['nonsense'], 'URL must be one of http or https, say http://127.0.0.1:3000/v1, got nonsense'],
    [
      ['http://127.0.0.1:1/v1', '--upstream-port', '0', '--quick', '--json'],
      'Nothing listens at 127.0.0.1:1.',
    ],
  ])('refuses %j in one line', async (args, message) => {
    expect(await unhang('gauntlet', ...args)).toEqual({ status: 1, out: '', error: `${message}\n` })
  })

  test('refuses a port that is taken', async () => {
    await using upstream = await startUpstreamCommand([])
    const port = String(upstream.port)
    const { status, error } = await unhang('gauntlet', 'http://127.0.0.1:1/v1', '--upstream-port', port)
    expect({ status, error }).toEqual({
      status: 1,
      error: `The port ${port} is taken: stop what listens there (unhang upstream?), or take another one.\n`,
    })
  })
})

describe('unhang doctor --faults', () => {
  test('plays the upstream of an example, and finds nothing', async () => {
    const { example, upstreamPort, url } = await startProxy('express-server.ts')
    await using _example = example
    const args = ['--faults', '--upstream-port', upstreamPort, '--model', 'gpt-4o']
    const { status, out } = await unhang('doctor', url, ...args)
    expect(out).not.toContain('FINDING')
    expect(out).toMatch(/^ok {7}FM-17 truncated .*reported/m)
    expect(out).toMatch(/No cause of hang-ups was found\.\n$/)
    expect(status).toBe(0)
  })
})
