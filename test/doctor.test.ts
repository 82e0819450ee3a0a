import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { gzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { examine } from '../src/doctor/doctor.js'
import { startUpstream, type UpstreamExchange } from '../src/testing/index.js'
import { chatChunk } from './support/chat.js'
import { startExample } from './support/example-server.js'

const later = (durationMs: number) => new Promise((resolve) => setTimeout(resolve, durationMs))

/** What is wrong with a server: each of these takes the place of what a good one does. */
interface Quirks {
  head?: (head: string, asked: string) => string
  events?: (exchange: UpstreamExchange) => unknown
  afterStream?: (exchange: UpstreamExchange) => unknown
  json?: (exchange: UpstreamExchange) => unknown
  badInput?: (exchange: UpstreamExchange) => unknown
  http10?: (exchange: UpstreamExchange) => unknown
  /** Whether it goes on when its client has left. */
  goesOn?: boolean
}

const goodHead = (asked: string) =>
  [
    'HTTP/1.1 200 OK',
    'Content-Type: text/event-stream',
    'Cache-Control: no-cache, no-transform',
    'X-Accel-Buffering: no',
    ...(/^Connection: close/im.test(asked)
      ? ['Connection: close']
      : ['Connection: keep-alive', 'Keep-Alive: timeout=75']),
    'Transfer-Encoding: chunked',
  ].join('\r\n')

const tokens = async (exchange: UpstreamExchange) => {
  for (let number = 0; number < 30; number++) {
    exchange.data(chatChunk(`${number} `))
    await later(2)
  }
  exchange.data(chatChunk('', 'stop'), '[DONE]')
}

/** A server of chats on a raw socket, with one thing wrong. */
function startServer(quirks: Quirks = {}) {
  return startUpstream(async (exchange) => {
    const { head: asked, body, socket } = exchange
    if (asked.startsWith('GET')) return exchange.answer('200 OK', '{"data":[{"id":"a-model"}]}')
    const request = parsed(body)
    if (!request) {
      if (quirks.badInput) return quirks.badInput(exchange)
      return exchange.answer('400 Bad Request', '{"error":{"message":"no JSON"}}')
    }
    if (!request.stream) {
      if (quirks.json) return quirks.json(exchange)
      return exchange.answer('200 OK', '{"choices":[]}')
    }
    if (asked.includes('HTTP/1.0')) {
      if (quirks.http10) return quirks.http10(exchange)
      return exchange.raw('HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: [DONE]\n\n').fin()
    }
    if (!quirks.goesOn) socket.on('end', () => socket.destroy())
    const head = goodHead(asked)
    exchange.raw(`${quirks.head?.(head, asked) ?? head}\r\n\r\n`)
    await (quirks.events ?? tokens)(exchange)
    if (quirks.afterStream) return quirks.afterStream(exchange)
    exchange.end()
    if (/^Connection: close/im.test(asked)) exchange.fin()
    return exchange
  })
}

function parsed(body: string): { stream?: boolean } | undefined {
  try {
    return JSON.parse(body)
  } catch {
    return undefined
  }
}

/** The names of what was found, and of what was not shown. */
async function diagnose(quirks: Quirks, options: Parameters<typeof examine>[1] = {}) {
  await using server = await startServer(quirks)
  const diagnosis = await examine(`${server.url}/v1`, { limitMs: 3_000, ...options })
  const named = (wanted: string) =>
    diagnosis.checks.filter(({ outcome }) => outcome === wanted).map(({ check }) => check)
  return { ...diagnosis, findings: named('finding'), unknown: named('unknown'), requests: server.exchanges }
}

describe('a good server', () => {
  test('has no finding, is asked eight small things, and for the first of its models', async () => {
    const { findings, unknown, model, requests } = await diagnose({})
    expect(findings).toEqual([])
    // Too fast for these.
    expect(unknown).toEqual(['buffering', 'heartbeats'])
    expect(model).toBe('a-model')
    expect(requests).toHaveLength(8)
    const chats = requests.map(({ body }) => parsed(body)).filter(Boolean)
    expect(chats).toHaveLength(6)
    for (const chat of chats) expect(chat).toMatchObject({ model: 'a-model' })
    for (const { body } of requests) expect(body.length).toBeLessThan(200)
  })

  test('that hints first what a page will need (103) has none either', async () => {
    const head = (from: string) => `HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n${from}`
    expect((await diagnose({ head })).findings).toEqual([])
  })

  test('behind nginx, which takes X-Accel-Buffering off, cannot be told about that', async () => {
    const head = (from: string) => from.replace('X-Accel-Buffering: no', 'Server: nginx/1.22.1')
    const { findings, unknown } = await diagnose({ head })
    expect(findings).toEqual([])
    expect(unknown).toContain('headers')
    const neither = (from: string) => head(from).replace(', no-transform', '')
    const { checks } = await diagnose({ head: neither })
    const { fix } = checks.find(({ check }) => check === 'headers') as { fix?: string }
    expect(fix).toBe('Send Cache-Control: no-cache, no-transform (unhang does).')
  })

  test('that is slow shows that it holds nothing back', async () => {
    const slow = async (exchange: UpstreamExchange) => {
      await later(300)
      for (let number = 0; number < 30; number++) {
        exchange.data(chatChunk(`${number} `))
        await later(15)
      }
      exchange.data('[DONE]')
    }
    const { findings, unknown } = await diagnose({ events: slow }, { silenceMs: 600 })
    expect(findings).toEqual([])
    expect(unknown).toEqual([])
  })
})

describe('a server that breaks one thing: exactly that is found', () => {
  const gzipped = (exchange: UpstreamExchange) => exchange.chunk(gzipSync('data: [DONE]\n\n'))
  const replaced = (from: string | RegExp, to: string) => (head: string) => head.replace(from, to)

  test.each<[string, Quirks, Parameters<typeof examine>[1]?]>([
    ['content-type', { head: replaced('text/event-stream', 'text/plain') }],
    ['headers', { head: replaced(', no-transform', '') }],
    ['headers', { head: replaced('X-Accel-Buffering: no\r\n', '') }],
    ['terminator', { afterStream: (exchange) => exchange.fin() }],
    ['terminator', { afterStream: (exchange) => exchange.reset() }],
    ['framing', { events: (exchange) => exchange.data('{"half": ', '[DONE]') }],
    ['framing', { events: (exchange) => exchange.chunk('retry: 1\n\n').data(chatChunk('x'), '[DONE]') }],
    [
      'framing',
      { events: (exchange) => exchange.data(chatChunk('x'), '[DONE]', chatChunk('y')).data('[DONE]') },
    ],
    ['framing', { events: (exchange) => exchange.chunk('\ufeff').data(chatChunk('x'), '[DONE]') }],
    ['done', { events: (exchange) => exchange.data(chatChunk('x'), chatChunk('', 'stop')) }],
    [
      'buffering',
      {
        events: async (exchange) => {
          await later(600)
          exchange.raw('')
          exchange.data(...Array.from({ length: 30 }, (_, number) => chatChunk(`${number}`)), '[DONE]')
        },
      },
    ],
    [
      'heartbeats',
      {
        events: async (exchange) => {
          exchange.data(chatChunk('x'))
          await later(200)
          exchange.data(chatChunk('y'), '[DONE]')
        },
      },
      { silenceMs: 150 },
    ],
    ['next-request', { afterStream: (exchange) => exchange.end().fin() }],
    [
      'compression',
      {
        head: (head, asked) => (asked.includes('gzip') ? `${head}\r\nContent-Encoding: gzip` : head),
        events: (exchange) => (exchange.head.includes('gzip') ? gzipped(exchange) : tokens(exchange)),
      },
    ],
    ['connection', { head: replaced('Connection: close', 'Connection: keep-alive') }],
    ['connection', { head: replaced('\r\nKeep-Alive: timeout=75', '') }],
    ['keep-alive', { head: replaced('timeout=75', 'timeout=5') }],
    ['line-separators', { events: (exchange) => exchange.data(chatChunk('a\u2028b'), '[DONE]') }],
    ['non-streaming', { json: (exchange) => exchange.open().data(chatChunk('x'), '[DONE]').end() }],
    ['non-streaming', { json: (exchange) => exchange.reset() }],
    [
      'bad-input',
      { badInput: (exchange) => exchange.answer('400 Bad Request', '<html>', 'Content-Type: text/html') },
    ],
    ['bad-input', { badInput: (exchange) => exchange.answer('500 Oh', '{"error":{"message":"stack"}}') }],
    ['bad-input', { badInput: (exchange) => exchange.reset() }],
    ['http-1.0', { http10: (exchange) => exchange.open().data('[DONE]').end().fin() }],
    [
      'disconnect',
      {
        goesOn: true,
        events: async (exchange) => {
          exchange.socket.allowHalfOpen = true
          exchange.data(...Array.from({ length: 3 }, () => chatChunk('x')))
          if (!exchange.body.includes('Count')) return exchange.data('[DONE]')
          for (let number = 0; number < 90 && exchange.socket.writable; number++) {
            exchange.data(chatChunk('x'))
            await later(number < 60 ? 5 : 60)
          }
          return exchange.data('[DONE]')
        },
      },
    ],
  ])('%s', async (check, quirks, options) => {
    const { findings, checks } = await diagnose(quirks, options)
    expect(findings).toEqual([check])
    for (const each of checks) expect(each.evidence).not.toBe('')
    const [found] = checks.filter(({ outcome }) => outcome === 'finding')
    expect(found).toMatchObject({
      finding: expect.stringMatching(/.\.$/),
      fix: expect.stringMatching(/.\.$/),
    })
  })

  test.each<[string, Quirks, string, RegExp]>([
    [
      'hangs in mid-answer',
      { events: (exchange) => exchange.data(chatChunk('x')), afterStream: () => {} },
      'terminator',
      /fell silent/,
    ],
    [
      'has no end',
      {
        events: (exchange) => exchange.every(0, () => exchange.data('x'.repeat(1024 * 1024))),
        afterStream: () => {},
      },
      'framing',
      /more than 16777216 bytes/,
    ],
    [
      'is ended by its connection alone',
      {
        head: (head) => head.replace('\r\nTransfer-Encoding: chunked', ''),
        events: (exchange) => exchange.raw('data: [DONE]\n\n'),
        afterStream: (exchange) => exchange.fin(),
      },
      'terminator',
      /no chunks, and no length/,
    ],
  ])('an answer that %s', async (_name, quirks, check, evidence) => {
    const { checks } = await diagnose(quirks, {
      limitMs: evidence.source.includes('bytes') ? 10_000 : 800,
      silenceMs: 300,
    })
    expect(checks.find(({ outcome }) => outcome === 'finding')).toMatchObject({
      check,
      evidence: expect.stringMatching(evidence),
    })
  })

  test('a server that is slow but still at it is not accused', async () => {
    const slow: Quirks = {
      events: (exchange) => void exchange.every(50, () => exchange.data(chatChunk('x'))),
      afterStream: () => {},
    }
    const { findings, unknown } = await diagnose(slow, { limitMs: 600, silenceMs: 300 })
    expect(findings).toEqual([])
    expect(unknown).toContain('terminator')
  })

  test('a server that has had enough is not accused of anything else', async () => {
    let chats = 0
    await using server = await startUpstream(async (exchange) => {
      if (!exchange.head.startsWith('POST') || ++chats > 1)
        return exchange.answer('429 Too Many Requests', '{"error":{"message":"slow down"}}')
      exchange.raw(`${goodHead(exchange.head)}\r\n\r\n`)
      await tokens(exchange)
      return exchange.end()
    })
    const { checks } = await examine(server.url, { limitMs: 2_000, model: 'a' })
    expect(checks.filter(({ outcome }) => outcome === 'finding')).toEqual([])
    expect(checks.filter(({ evidence }) => evidence.includes('429')).length).toBeGreaterThan(3)
  })

  test.each([
    ['silent', () => {}, 'no answer within'],
    ['no HTTP', (exchange: UpstreamExchange) => exchange.raw('\x00\xff\r\n\r\n'), 'no HTTP'],
  ])('a server that is %s', async (_name, script, evidence) => {
    await using server = await startUpstream(script)
    const { checks } = await examine(server.url, { limitMs: 300, model: 'a' })
    expect(checks).toMatchObject([{ check: 'reachable', evidence: expect.stringContaining(evidence) }])
  })

  test('chunks that are none: it is said once, and the rest is still looked at', async () => {
    const { findings, checks } = await diagnose({ events: (exchange) => exchange.raw('zz\r\nbad\r\n') })
    expect(findings).toEqual(['framing'])
    expect(checks.map(({ check }) => check)).toContain('non-streaming')
  })
})

describe('a server that answers no chat', () => {
  test('is unreachable', async () => {
    const server = await startServer()
    await server[Symbol.asyncDispose]()
    const { checks } = await examine(`${server.url}/v1`)
    expect(checks).toMatchObject([{ check: 'reachable', evidence: expect.stringContaining('ECONNREFUSED') }])
  })

  test('or refuses: the key is asked for, or what it says is shown', async () => {
    await using server = await startUpstream((exchange) =>
      exchange.head.includes('Bearer good')
        ? exchange.answer('400 Bad Request', '{"error":{"message":"no such model"}}')
        : exchange.answer('401 Unauthorized', '{}'),
    )
    const { checks } = await examine(server.url)
    expect(checks).toMatchObject([{ check: 'reachable', fix: expect.stringContaining('--key') }])
    const { checks: withKey } = await examine(server.url, { key: 'good', model: 'mine' })
    expect(withKey).toMatchObject([{ evidence: expect.stringContaining('no such model') }])
    await expect(examine(server.url, { key: 'a\r\nb' })).rejects.toThrow(
      'the key holds what no HTTP header can carry',
    )
  })
})

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
    expect(out).toContain('Nothing was found that hangs up.')
    expect(out).not.toContain('FINDING')
    expect(status).toBe(0)
  })

  test('says first what it will send, shows what it found, and exits with 1', async () => {
    await using server = await startServer({ head: (head) => head.replace('timeout=75', 'timeout=5') })
    const { status, out } = await doctor('doctor', `${server.url}/v1/chat/completions/?api-version=2`)
    expect(server.exchanges[1]?.head).toMatch(/^POST \/v1\/chat\/completions\?api-version=2 /)
    expect(out).toMatch(/^Sends at most 8 requests to .*: 6 chats of at most 200 tokens/)
    expect(out).toMatch(/^FINDING {2}keep-alive .*timeout=5$/m)
    expect(out).toMatch(/^ {2}fix {7}alignServerTimeouts/m)
    expect(out).toMatch(/One finding\.\n$/)
    expect(status).toBe(1)
  })

  test('as JSON, and nothing else', async () => {
    await using server = await startServer({ head: (head) => head.replace('timeout=75', 'timeout=5') })
    const { status, out } = await doctor('doctor', server.url, '--json', '--model', 'mine')
    const { checks, model } = JSON.parse(out)
    expect(model).toBe('mine')
    expect(checks.filter(({ outcome }: { outcome: string }) => outcome === 'finding')).toHaveLength(1)
    expect(status).toBe(1)
  })

  test.each([
    [['doctor', 'nonsense'], 'URL must be one of http or https, say http://127.0.0.1:3000/v1, got nonsense'],
    [['doctor', 'ftp://127.0.0.1'], 'got ftp://127.0.0.1'],
    [['doctor'], 'Usage: unhang doctor URL'],
    [[], 'Usage: unhang doctor URL'],
    [['doctor', 'http://127.0.0.1', '--nope'], "Unknown option '--nope'"],
  ])('refuses %j', async (args, message) => {
    expect(await doctor(...args)).toMatchObject({
      status: 2,
      error: expect.stringContaining(message),
      out: '',
    })
  })

  test('knows its version', async () => {
    const { version } = JSON.parse(await readFile('package.json', 'utf8'))
    expect(await doctor('--version')).toMatchObject({ status: 0, out: `${version}\n` })
  })

  test('explains itself', async () => {
    expect(await doctor('--help')).toMatchObject({
      status: 0,
      out: expect.stringContaining('Usage: unhang doctor URL'),
    })
  })
})
