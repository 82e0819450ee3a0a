import { getRequestListener } from '@hono/node-server'
import { describe, expect, test, vi } from 'vitest'
import { type FetchHandler, wrapApp } from '../../src/web/index.js'
import { serveFetch } from '../support/fetch-server.js'
import { listen } from '../support/proxy.js'
import { rawRequest } from '../support/raw-client.js'

const path = '/v1/chat/completions'
const returned = [
  ['nothing', undefined, 'undefined'],
  ['null', null, 'null'],
  ['a text', 'hello', '"hello"'],
  ['an object', { status: 200 }, '{"status":200}'],
] as const

describe.each(returned)('a handler that returns %s', (_what, value, shown) => {
  const handler = (async () => value) as unknown as FetchHandler

  test('to a request for no stream: its server gets it, and fails as it does without unhang', async () => {
    expect(await wrapApp(handler)(new Request('http://localhost/page'))).toBe(value)
    const print = vi.spyOn(console, 'error').mockImplementation(() => {})
    const [bare, behind] = await Promise.all(
      [handler, wrapApp(handler)].map(async (fetch) => {
        await using server = await listen(getRequestListener(fetch as never))
        using client = await rawRequest({ port: server.port, method: 'GET', path: '/page' }).finished()
        return [client.status, client.bodyText]
      }),
    )
    expect(behind).toEqual(bare)
    print.mockRestore()
  })

  test('to a request for a stream: the client gets JSON, and the record says what it was', async () => {
    await using server = await serveFetch((onEnd) => wrapApp(handler, { onEnd }))
    using client = await rawRequest({ port: server.port, path, body: { stream: true } }).finished()
    expect(client.status).toBe(500)
    expect(client.json).toMatchObject({ error: { code: 'internal_error' } })
    const { outcome, reason } = await server.end()
    expect(outcome).toBe('internal')
    expect(reason?.cause).toEqual(new TypeError(`the handler must return a Response, got ${shown}`))
  })

  test('where errors are not reported: its server gets it', async () => {
    const quiet = wrapApp(handler, { reportErrors: false })
    expect(await quiet(new Request(`http://localhost${path}`, { method: 'POST' }))).toBe(value)
  })
})
