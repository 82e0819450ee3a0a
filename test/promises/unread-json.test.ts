import express from 'express'
import Koa from 'koa'
import { beforeEach, describe, expect, test, vi } from 'vitest'
import type { StreamContext } from '../../src/index.js'
import { expressVersions } from '../support/express-versions.js'
import { listen } from '../support/proxy.js'
import { rawRequest } from '../support/raw-client.js'
import { expectWarning } from '../support/warnings.js'

const asked = { path: '/chat', body: { stream: true } }
const stream = ({ writer }: StreamContext) => writer.write({ data: 'Hi' })
// Each test has a copy of its own: a process is warned once.
const forExpress = () => import('../../src/adapters/express.js')
const forKoa = () => import('../../src/adapters/koa.js')
beforeEach(() => void vi.resetModules())

const apps: [string, () => Promise<Parameters<typeof listen>[0]>][] = [
  ...expressVersions.map(([name, create]): (typeof apps)[number] => [
    name,
    async () => create().post('/chat', (await forExpress()).createStreamMiddleware(stream)),
  ]),
  ['Koa', async () => new Koa().use((await forKoa()).createStreamMiddleware(stream)).callback()],
]

describe('a streaming route without a parser', () => {
  test.each(apps)('%s: the request goes on, and a warning says why', async (_name, create) => {
    const warned = expectWarning(/a POST with JSON passed a streaming route by, .*express\.json\(\)/)
    await using server = await listen(await create())
    using client = await rawRequest({ port: server.port, ...asked }).finished()
    expect(client.status).toBe(404)
    await warned
  })

  test('nothing is said of a body that is not JSON, of a parsed body, or of what streams by its path', async () => {
    const { createStreamMiddleware } = await forExpress()
    const app = express()
    app.post('/form', createStreamMiddleware(stream))
    app.post('/parsed', express.json(), createStreamMiddleware(stream))
    app.post('/v1/chat/completions', createStreamMiddleware(stream))
    await using server = await listen(app)
    const { port } = server
    const headers = { 'Content-Type': 'multipart/form-data' }
    using form = await rawRequest({ port, path: '/form', headers, body: 'x' }).finished()
    using parsed = await rawRequest({ port, path: '/parsed', body: { stream: false } }).finished()
    using chat = await rawRequest({ port, body: { stream: true } }).finished()
    expect([form.status, parsed.status, chat.status]).toEqual([404, 404, 200])
  })
})
