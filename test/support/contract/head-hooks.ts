import type { ServerResponse } from 'node:http'
import { describe, expect, test } from 'vitest'
import { chatAnswer } from '../chat.js'
import type { Mount } from './mount.js'
import { startScene } from './scene.js'

/** The error that an app's hook in the head of a response, as `on-headers` makes it, throws once, or each time. */
const hooks: Record<string, (response: ServerResponse, times: number) => void> = {
  writeHead(response, times) {
    const { writeHead } = response
    let left = times
    response.writeHead = function (this: ServerResponse, ...args: unknown[]) {
      if (left-- > 0) throw new Error('password=hunter2')
      return writeHead.apply(this, args as never)
    } as ServerResponse['writeHead']
  },
  setHeader(response, times) {
    const { setHeader } = response
    let left = times
    response.setHeader = function (this: ServerResponse, ...args: unknown[]) {
      // Headers that Express sets before any middleware are its own affair.
      if (!/^x-powered-by$/i.test(String(args[0])) && left-- > 0) throw new Error('password=hunter2')
      return setHeader.apply(this, args as never)
    } as ServerResponse['setHeader']
  },
}

const places = ['hookOutside', 'hookInside'] as const

/** An app's hook that throws never makes a hang. */
export function testHeadHooks(mount: Mount): void {
  describe.each(Object.entries(hooks))('a hook of the app in %s', (_name, hook) => {
    test.each(
      places.flatMap((place) => [
        [place, 'once', 1] as const,
        [place, 'always', Number.POSITIVE_INFINITY] as const,
      ]),
    )(
      '%s that throws %s: the client has an ending, the stream a record, the server none left',
      async (place, often, times) => {
        const rejections: unknown[] = []
        const rejected = (reason: unknown) => rejections.push(reason)
        process.on('unhandledRejection', rejected)
        try {
          await using scene = await startScene(
            mount,
            (exchange) =>
              exchange
                .open()
                .data(...chatAnswer('Hello'))
                .end(),
            { [place]: (response: ServerResponse) => hook(response, times) },
          )
          const seen = await (await scene.ask()).finished()
          expect(seen.text).not.toContain('hunter2')
          if (often === 'once') expect(seen.status).toBe(500)
          if (seen.status === 500) expect(JSON.parse(seen.text).error.code).toBe('internal_error')
          else expect(seen.ending).toBe('cut')
          expect(await scene.end()).toMatchObject({ outcome: 'internal', events: 0, bytes: 0 })
          expect(await scene.drain()).toEqual({ finished: 0, reported: 0, forced: 0 })
        } finally {
          // A rejection is unhandled a turn later.
          await new Promise((resolve) => setImmediate(resolve))
          process.off('unhandledRejection', rejected)
        }
        expect(rejections).toEqual([])
      },
    )

    test('each time, while a server shuts down that has a stream', async () => {
      await using scene = await startScene(mount, () => {}, {
        // A route writes its first header before its handler runs.
        [mount.kind === 'route' ? 'hookInside' : 'hookOutside']: (response: ServerResponse) =>
          hook(response, Number.POSITIVE_INFINITY),
      })
      const client = await scene.ask()
      await scene.exchange(0)
      expect(await scene.drain()).toEqual({ finished: 0, reported: 1, forced: 0 })
      expect((await client.finished()).ending).toBe('cut')
      expect(await scene.end()).toMatchObject({ outcome: 'shutdown' })
    })
  })
}
