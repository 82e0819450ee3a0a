import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { describe, expect, test } from 'vitest'
import { startUpstream, type UpstreamExchange } from '../../src/testing/index.js'
import { startChatServer } from '../support/chat-server.js'
import { startExample } from '../support/example-server.js'

describe('unhang doctor', () => {
  async function doctor(...args: string[]) {
    const child = spawn(process.execPath, ['dist/cli.js', ...args])
    const text = { out: '', error: '' }
    child.stdout.on('data', (piece) => {
      text.out += piece
    })
    child.stderr.on('data', (piece) => {
      text.error += piece
    })
    const [status] = await once(child, 'close')
    return { status, ...text }
  }

  test('finds nothing in the example', async () => {
    await using example = await startExample('express-server.ts')
    const { status, out } = await doctor('doctor', `${example.url}/v1`)
    expect(out).toContain('No cause of hang-ups was found.')
    expect(out).not.toContain('FINDING')
    expect(status).toBe(0)
  })

  test('says first what it will send, shows what it found, and exits with 1', async () => {
    await using server = await startChatServer({ head: (head) => head.replace('timeout=75', 'timeout=5') })
    const { status, out } = await doctor('doctor', `${server.url}/v1/chat/completions/?api-version=2`)
    expect(server.exchanges[1]?.head).toMatch(/^POST \/v1\/chat\/completions\?api-version=2 /)
    expect(out).toMatch(/^Sends at most 8 requests to .*: 6 chats of at most 200 tokens/)
    expect(out).toMatch(/^FINDING {2}keep-alive .*timeout=5$/m)
    expect(out).toMatch(/^ {2}fix {7}alignServerTimeouts/m)
    expect(out).toMatch(/One finding\.\n$/)
    expect(status).toBe(1)
  })

  test('as JSON, and nothing else', async () => {
    await using server = await startChatServer({ head: (head) => head.replace('timeout=75', 'timeout=5') })
    const { status, out } = await doctor('doctor', server.url, '--json', '--model', 'mine')
    const { checks, model } = JSON.parse(out)
    expect(model).toBe('mine')
    expect(checks.filter(({ outcome }: { outcome: string }) => outcome === 'finding')).toHaveLength(1)
    expect(status).toBe(1)
  })

  describe('keeps secrets, and hands a terminal nothing to obey', () => {
    const key = 'sk-proj-0123456789abcdef-wxyz'
    const controls = '\u001b]0;owned\u0007\u001b[2J\r\u009b31m\u2028\u202e'
    /** A hostile text of a server: all that it was sent, and control characters of a terminal. */
    const hostile = (head: string) => `${key}${controls}p@ssword${head}`.repeat(20)
    const header = (head: string) => hostile(head).replace(/[\r\n]+/g, '\u001b ')
    const answer = (exchange: UpstreamExchange, status = '200 OK') =>
      exchange.answer(
        `${status} ${controls}`,
        JSON.stringify({ error: { message: hostile(exchange.head) } }).replaceAll('\\u001b', '\u001b'),
        `Content-Type: ${header(exchange.head)}`,
      )
    const stream = (exchange: UpstreamExchange) => {
      const said = header(exchange.head)
      return exchange.open(
        `Content-Type: text/event-stream; ${said}\r\nCache-Control: no-transform, ${said}\r\n` +
          `X-Accel-Buffering: no\r\nConnection: keep-alive, ${said}\r\nKeep-Alive: timeout=5, ${said}\r\n` +
          `Content-Encoding: ${said}`,
      )
    }

    test.each<[string, (exchange: UpstreamExchange) => unknown]>([
      ['refuses', (exchange) => answer(exchange, '401 Unauthorized')],
      ['says the key where it is cut', (exchange) => exchange.answer('400 No', `${'x'.repeat(90)}${key}`)],
      ['streams what is no chat', (exchange) => stream(exchange).chunk(hostile(exchange.head)).end()],
      [
        'ends without [DONE]',
        (exchange) =>
          stream(exchange)
            .data({ said: hostile(exchange.head) })
            .end(),
      ],
      [
        'ends with an error',
        (exchange) =>
          stream(exchange)
            .data({ error: hostile(exchange.head) })
            .end(),
      ],
      [
        'sends no event of data',
        (exchange) =>
          stream(exchange)
            .chunk(`id: ${header(exchange.head)}\n\n`)
            .end(),
      ],
      [
        'sends a field of its own',
        (exchange) =>
          stream(exchange)
            .chunk(`data: {}\n${header(exchange.head)}\n\n`)
            .end(),
      ],
      ['sends chunks that are none', (exchange) => stream(exchange).raw(`${header(exchange.head)}\r\n`)],
      ['is no HTTP', (exchange) => exchange.raw(hostile(exchange.head)).fin()],
    ])('of a server that %s', async (_what, script) => {
      const models = JSON.stringify({ data: [{ id: hostile('a-model') }] })
      await using server = await startUpstream((exchange) => {
        if (exchange.head.startsWith('GET')) return exchange.answer('200 OK', models)
        return exchange.body.includes('"stream":true') ? script(exchange) : answer(exchange)
      })
      const url = `${server.url.replace('//', '//me:p%40ssword@')}/v1?api-key=query-secret-0123456789`
      for (const more of [[], ['--json']]) {
        const { out, error, status } = await doctor('doctor', url, '--key', key, ...more)
        expect(server.exchanges.length).toBeGreaterThan(0)
        expect(status).toBe(1)
        expect(error).toBe('')
        for (const secret of ['sk-proj', 'p@ssword', 'p%40ssword', 'query-secret', '0123456789']) {
          expect(out).not.toContain(secret)
        }
        // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not be there
        expect(out).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u2028\u2029\u202e]/)
        for (const line of out.split('\n')) expect(line.length).toBeLessThan(500)
      }
    })

    test.each<[string, string]>([
      [key, '…wxyz'],
      ['a-model\u001b[2J', 'default'],
      ['x'.repeat(101), 'default'],
      ['模型-1', '模型-1'],
    ])('of a server that calls its model %j', async (id, shown) => {
      await using server = await startUpstream((exchange) =>
        exchange.head.startsWith('GET')
          ? exchange.answer('200 OK', JSON.stringify({ data: [{ id }] }))
          : exchange.answer('400 Bad Request', '{}'),
      )
      const { out } = await doctor('doctor', `${server.url}/v1`, '--key', key, '--json')
      expect(JSON.parse(out).model).toBe(shown)
      expect(out).not.toContain('0123456789')
    })

    test('of a key it shows the end, so that one knows which it was', async () => {
      await using server = await startUpstream((exchange) =>
        exchange.answer(
          '401 Unauthorized',
          `{"error":"no such key: ${/Bearer (\S+)/i.exec(exchange.head)?.[1]}"}`,
        ),
      )
      const url = `${server.url}/v1`
      expect((await doctor('doctor', url, '--key', key, '--model', 'a')).out).toContain(
        'no such key: …wxyz\\"}',
      )
      expect((await doctor('doctor', url, '--key', 'short', '--model', 'a')).out).toContain(
        'no such key: …\\"}',
      )
    })

    test.each([
      [['doctor', `ftp://me:${key}@127.0.0.1/?key=${key}`], 'got ftp://127.0.0.1/'],
      [['doctor', `me:${key}@127.0.0.1`], 'got 127.0.0.1'],
      [['doctor', 'http://127.0.0.1', key], 'a key goes after --key'],
      [[`http://me:${key}@127.0.0.1/`], 'There is no http://127.0.0.1/.'],
      [
        ['doctor', 'http://127.0.0.1', '--key', `${key}\u001b[2J`],
        'the key has a character that an HTTP header must not have',
      ],
      [['doctor', '\u001b[2J'], 'got \\u001b[2J'],
    ])('of arguments that it does not take: %#', async (args, message) => {
      const { out, error, status } = await doctor(...args)
      expect(status).toBe(1)
      expect(error).toContain(message)
      expect(out + error).not.toContain('0123456789')
      expect(out + error).not.toContain('\u001b')
    })
  })

  test.each([
    [['doctor', 'nonsense'], 'URL must be one of http or https, say http://127.0.0.1:3000/v1, got nonsense'],
    [
      ['doctor', 'ftp://127.0.0.1'],
      'URL must be one of http or https, say http://127.0.0.1:3000/v1, got ftp://127.0.0.1',
    ],
    [['doctor'], 'Missing URL. Write: unhang doctor URL'],
    [[], 'Missing command. unhang --help lists the commands.'],
    [['doctor', 'http://127.0.0.1', '--models', 'a'], 'There is no --models. Did you mean --model?'],
  ])('refuses %j in one line', async (args, message) => {
    expect(await doctor(...args)).toEqual({ status: 1, error: `${message}\n`, out: '' })
  })

  test('knows its version', async () => {
    const { version } = JSON.parse(await readFile('package.json', 'utf8'))
    expect(await doctor('--version')).toMatchObject({ status: 0, out: `${version}\n` })
  })

  test('explains itself', async () => {
    expect(await doctor('doctor', '--help')).toMatchObject({
      status: 0,
      out: expect.stringContaining('Usage: unhang doctor URL'),
    })
  })
})
