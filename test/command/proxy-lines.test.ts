import { gzipSync } from 'node:zlib'
import { Ollama } from 'ollama'
import { describe, expect, test } from 'vitest'
import { rawRequest, startUpstream } from '../../src/testing/index.js'
import { startProxied } from '../support/proxied.js'

const type = 'Content-Type: application/x-ndjson'
const events = 'Content-Type: text/event-stream'
const rows = '{"row":1}\n{"row":2}'

describe.each([
  ['JSON lines', type],
  ['events', events],
])('of %s', (_what, typeLine) => {
  test('a part passes as it is', async () => {
    const part = 'w":1}\n\n{"ro'
    const headers = `${typeLine}\r\nContent-Range: bytes 4-14/19\r\nETag: "x"`
    await using upstream = await startUpstream((exchange) =>
      exchange.answer('206 Partial Content', part, headers),
    )
    await using proxy = await startProxied(upstream.url)
    const range = { Range: 'bytes=4-14' }
    using client = await rawRequest({ port: proxy.port, method: 'GET', headers: range }).finished()
    expect(client.status).toBe(206)
    expect(client.header('content-range')).toBe('bytes 4-14/19')
    expect(client.header('content-length')).toBe(String(part.length))
    expect(client.header('etag')).toBe('"x"')
    expect(client.bodyText).toBe(part)
  })

  test('a response without a body passes as it is', async () => {
    await using upstream = await startUpstream((exchange) =>
      exchange.answer('205 Reset Content', '', typeLine),
    )
    await using proxy = await startProxied(upstream.url)
    using client = await rawRequest({ port: proxy.port, body: {} }).finished()
    expect(client.status).toBe(205)
    expect(client.body.complete).toBe(true)
    expect(client.bodyText).toBe('')
  })

  test.each(['Content-Length: 19', 'Transfer-Encoding: chunked'])(
    'HEAD has the head, with %s',
    async (how) => {
      await using upstream = await startUpstream((exchange) =>
        exchange.raw(`HTTP/1.1 200 OK\r\n${typeLine}\r\nETag: "x"\r\n${how}\r\n\r\n`),
      )
      await using proxy = await startProxied(upstream.url)
      const response = await fetch(`${proxy.url}/file`, { method: 'HEAD' })
      expect(response.status).toBe(200)
      expect(response.headers.get('etag')).toBe('"x"')
      expect(response.headers.get('content-type')).toBe(typeLine.replace('Content-Type: ', ''))
      expect(response.headers.get('content-length')).toBe(how.startsWith('Content') ? '19' : null)
    },
  )
})

describe('a file of JSON lines passes byte for byte', () => {
  test.each<[string, string]>([
    ['whose last line has no end', rows],
    ['that holds no JSON at all', 'not\nJSON\n at all'],
    ['that is empty', ''],
  ])('%s', async (_what, body) => {
    await using upstream = await startUpstream((exchange) =>
      exchange.head.includes('/chunked')
        ? exchange
            .open(`${type}\r\nETag: "x"`)
            .chunk(body || '\n')
            .end()
        : exchange.answer('200 OK', body, `${type}\r\nETag: "x"`),
    )
    await using proxy = await startProxied(upstream.url)
    for (const method of ['GET', 'POST']) {
      using client = await rawRequest({ port: proxy.port, method, path: '/rows' }).finished()
      expect(client.bodyText).toBe(body)
      expect(client.header('content-length')).toBe(String(body.length))
      expect(client.header('etag')).toBe('"x"')
      expect(client.header('cache-control')).toBeUndefined()
    }
    using chunked = await rawRequest({ port: proxy.port, method: 'GET', path: '/chunked' }).finished()
    expect(chunked.bodyText).toBe(body || '\n')
    expect(chunked.header('etag')).toBe('"x"')
    expect(proxy.lines).toEqual([])
  })

  test('that is compressed', async () => {
    const bytes = gzipSync(rows)
    await using upstream = await startUpstream((exchange) =>
      exchange.open(`${type}\r\nContent-Encoding: gzip`).chunk(bytes).end(),
    )
    await using proxy = await startProxied(upstream.url)
    using client = await rawRequest({ port: proxy.port, method: 'GET', path: '/rows' }).finished()
    expect(client.header('content-encoding')).toBe('gzip')
    expect(client.body.bytes).toEqual(bytes)
  })

  test('and one that breaks is cut, so that it does not look whole', async () => {
    await using upstream = await startUpstream((exchange) => exchange.open(type).chunk(rows).reset())
    await using proxy = await startProxied(upstream.url)
    using client = await rawRequest({ port: proxy.port, method: 'GET', path: '/rows' }).closed()
    expect(client.bodyText).toBe(rows)
    expect(client.body.complete).toBe(false)
  })
})

describe('a download of Ollama’s own client', () => {
  const pulling = '{"status":"pulling manifest"}\n'
  const statusesOf = async (url: string, statuses: string[] = []) => {
    for await (const { status } of await new Ollama({ host: url }).pull({ model: 'a', stream: true }))
      statuses.push(status)
    return statuses
  }

  test('is whole without a last line that says so', async () => {
    await using upstream = await startUpstream((exchange) =>
      exchange.open(type).chunk(pulling).chunk('{"status":"success"}\n').end(),
    )
    await using proxy = await startProxied(upstream.url)
    expect(await statusesOf(proxy.url)).toEqual(['pulling manifest', 'success'])
    expect(await proxy.line(0)).toMatch(/^POST \/api\/pull: completed/)
  })

  test('fails in its own words when it breaks', async () => {
    await using upstream = await startUpstream((exchange) => exchange.open(type).chunk(pulling).reset())
    await using proxy = await startProxied(upstream.url)
    const statuses: string[] = []
    await expect(statusesOf(proxy.url, statuses)).rejects.toThrow('The upstream closed the connection')
    expect(statuses).toEqual(['pulling manifest'])
  })
})
