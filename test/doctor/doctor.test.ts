import { gzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { examine } from '../../src/doctor/doctor.js'
import { startUpstream, type UpstreamExchange } from '../../src/testing/index.js'
import { chatChunk } from '../support/chat.js'
import { goodHead, later, parsed, type Quirks, startChatServer, tokens } from '../support/chat-server.js'

/** The names of the findings, and of the checks without a result. */
async function diagnose(quirks: Quirks, options: Parameters<typeof examine>[1] = {}) {
  await using server = await startChatServer(quirks)
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

  test('behind nginx, which takes X-Accel-Buffering off, cannot be checked for that', async () => {
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
    ['silent', () => {}, 'no response within'],
    ['not HTTP', (exchange: UpstreamExchange) => exchange.raw('\x00\xff\r\n\r\n'), 'not HTTP'],
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
    const server = await startChatServer()
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
      'the key has a character that an HTTP header must not have',
    )
  })
})
