import { expect, test } from 'vitest'
import { chatAnswer } from '../chat.js'
import type { Script } from '../scripted-upstream.js'
import type { Mount } from './mount.js'
import { startScene } from './scene.js'
import { expectAnswer } from './seen.js'

const upstream: Script = (exchange) => {
  if (exchange.head.includes('/broken')) exchange.fin()
  else
    exchange
      .open()
      .data(...chatAnswer('Hello'))
      .end()
}

/** One rule for `x-request-id`. */
export function testRequestId(mount: Mount): void {
  test('x-request-id stands on a stream and on an error body, and on nothing else', async () => {
    await using scene = await startScene(mount, upstream)
    const asked = await scene.ask()
    const stream = await asked.finished()
    expectAnswer(stream, 'Hello')
    expect(stream.headers['x-request-id']).toBe(asked.requestId)
    if (!mount.isLate) {
      const failing = await scene.ask({ upstreamPath: 'broken' })
      const failed = await failing.finished()
      expect(failed.status).toBe(503)
      expect(failed.headers['x-request-id']).toBe(failing.requestId)
    }
    const plain = await (await scene.ask({ stream: false })).finished()
    expect(plain.headers).not.toHaveProperty('x-request-id')
    const unnamed = await (await scene.askUnnamed()).finished()
    const id = unnamed.headers['x-request-id']
    expect(id).toMatch(/^[\w-]{36}$/)
    expect(await scene.end(id)).toMatchObject({ outcome: 'completed' })
  })

  // Headers of a handler stand on the response that it returns: see test/web.
  if (!mount.isFetch)
    test("the app's own stays", async () => {
      await using scene = await startScene(mount, upstream, {
        hookOutside: (response) => void response.setHeader('x-request-id', 'of-the-app'),
      })
      for (const upstreamPath of ['', 'broken']) {
        const { headers } = await (await scene.ask({ upstreamPath })).finished()
        expect(headers['x-request-id']).toBe('of-the-app')
      }
    })

  test('writer.headers: false keeps it away everywhere', async () => {
    await using scene = await startScene(mount, upstream, { options: { writer: { headers: false } } })
    for (const [upstreamPath, status] of [
      ['', 200],
      ['broken', mount.isLate ? 500 : 503],
    ] as const) {
      const seen = await (await scene.ask({ upstreamPath })).finished()
      expect(seen.status).toBe(status)
      expect(seen.headers).not.toHaveProperty('x-request-id')
    }
  })
}
