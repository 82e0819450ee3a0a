import { describe, expect, test } from 'vitest'
import { chatAnswer, chatChunk } from '../chat.js'
import type { Mount } from './mount.js'
import { startScene } from './scene.js'
import { expectAnswer, expectCounts } from './seen.js'

/** The written bytes. */
export function testWire(mount: Mount): void {
  // How a server writes the bytes of a body is its own affair.
  if (!mount.isFetch)
    test('the error event and the end leave in one write', async () => {
      await using scene = await startScene(mount, (exchange) => exchange.open().data(chatChunk('Hello')))
      const client = await scene.ask()
      await client.received('Hello')
      const finished = client.finished()
      await (await scene.exchange(0)).reset()
      const { lastPiece, headers } = await finished
      expect(lastPiece).toContain('"connection_reset"')
      if (headers['transfer-encoding'] === 'chunked') expect(lastPiece).toMatch(/\r\n0\r\n\r\n$/)
    })

  test('a handler that fails before the head is a 500, and says nothing of itself', async () => {
    await using scene = await startScene(mount, (exchange) => exchange.open(), {
      hookInside() {
        throw new Error('password=hunter2')
      },
    })
    const { status, text } = await (await scene.ask()).finished()
    expect(status).toBe(500)
    expect(JSON.parse(text).error.code).toBe('internal_error')
    expect(text).not.toContain('hunter2')
    expect(await scene.end()).toMatchObject({ outcome: 'internal', status: 500 })
  })

  test.each([['in one piece', ['\ufeff', ...chatAnswer('Hello').map(dataLine)].join('')]])(
    'a byte order mark is left out, %s',
    async (_how, text) => {
      await using scene = await startScene(mount, (exchange) => exchange.open().chunk(text).end())
      const client = await scene.ask()
      const result = await client.finished()
      expectAnswer(result, 'Hello')
      expect(result.text.startsWith('data: ')).toBe(true)
      expectCounts(await scene.end(), result)
    },
  )

  // A handler that writes by itself has committed itself to a stream.
  if (mount.kind === 'guard') return
  describe('comments before the first event', () => {
    test('are no reason to send the head, however many', async () => {
      await using scene = await startScene(mount, (exchange) => {
        exchange.open()
        for (const each of ['a', 'b', 'c', 'd']) exchange.chunk(`: ${each.repeat(5_000)}\n\n`)
        exchange.fin()
      })
      const { status, text } = await (await scene.ask()).finished()
      expect(status).toBe(503)
      expect(JSON.parse(text).error.code).toBe('connection_reset')
    })

    test('come with it', async () => {
      await using scene = await startScene(mount, (exchange) =>
        exchange
          .open()
          .chunk(': one\n\n')
          .chunk(': two\n\n')
          .data(...chatAnswer('Hello'))
          .end(),
      )
      const result = await (await scene.ask()).finished()
      expectAnswer(result, 'Hello')
      expect(result.text).toMatch(/^: one\n\n: two\n\ndata: /)
      expect((await scene.end()).bytes).toBe(result.text.length)
    })
  })
}

function dataLine(event: unknown): string {
  return `data: ${typeof event === 'string' ? event : JSON.stringify(event)}\n\n`
}
