import http, { type ServerResponse } from 'node:http'
import { PassThrough } from 'node:stream'
import { describe, expect, test } from 'vitest'
import { getSignal, unadopted } from '../../src/index.js'
import {
  type BrokenCourse,
  broken,
  copy,
  later,
  pass,
  turns,
  useFakeClock,
} from '../support/broken-upstream.js'
import { chatAnswer, chatChunk, failureOf, textOf } from '../support/chat.js'
import { guarded } from '../support/guarded.js'
import { rawRequest } from '../support/raw-client.js'
import { startUpstream } from '../support/scripted-upstream.js'
import { eventStream, wire } from '../support/wire.js'

describe('by the clock', () => {
  useFakeClock()

  /** Copies each chunk, and does something else when the upstream has gone. */
  const copying = (then: (response: ServerResponse, url: string) => unknown): BrokenCourse['handler'] => {
    return (url) => async (_request, response) => {
      await copy(url, response.writeHead(200, eventStream))
      await then(response, url)
    }
  }
  const end = async (response: ServerResponse) => {
    await later(20_000)
    response.end(wire(...chatAnswer('lo')))
  }

  describe('a break is not reported while the handler has reason to wait', () => {
    test('it has written nothing of the answer so far', async () => {
      await using upstream = await startUpstream((exchange) => exchange.open().data(chatChunk('Hel')))
      await using server = await guarded((_request, response) => {
        response.writeHead(200, eventStream).write(': thinking\n\n')
        let text = ''
        http
          .request(upstream.url, { method: 'POST' }, (answer) => {
            answer.on('data', (chunk) => {
              text += chunk
            })
            answer.on('close', () => setTimeout(() => response.end(text + wire(...chatAnswer('lo'))), 20_000))
          })
          .end()
      })
      using client = await rawRequest({ port: server.port, body: { stream: true } }).received('thinking')
      await (await upstream.exchange(0)).reset()
      await (await upstream.exchange(0)).closed
      await turns()
      await pass(19_900)
      expect(client.data).toEqual([])
      await pass(200)
      await client.finished()
      expect(textOf(client.data)).toBe('Hello')
    })

    test.each<[string, BrokenCourse]>([
      [
        'it waits for the headers of another call',
        {
          handler: copying((response, url) => copy(url, response)),
          next: async (exchange) => {
            await later(20_000)
            exchange
              .open()
              .data(...chatAnswer('lo'))
              .end()
          },
        },
      ],
      [
        'it reads another upstream, which is silent',
        {
          handler: copying((response, url) => copy(url, response)),
          next: async (exchange) => {
            exchange.open()
            await later(20_000)
            exchange.data(...chatAnswer('lo')).end()
          },
        },
      ],
      [
        'it reads another upstream, which had begun before the break',
        {
          handler: (url) => async (_request, response) => {
            const lost = await fetch(url, { method: 'POST' })
            const good = await fetch(url, { method: 'POST' })
            response.writeHead(200, eventStream)
            for (const { body } of [lost, good]) {
              const chunks = body as unknown as AsyncIterable<Uint8Array>
              try {
                for await (const chunk of chunks) response.write(chunk)
              } catch {}
            }
            response.end()
          },
          next: async (exchange) => {
            exchange.open()
            await later(20_000)
            exchange.data(...chatAnswer('lo')).end()
          },
        },
      ],
      [
        'the rest comes as JSON, of which only the headers are there',
        {
          handler: copying(async (response, url) => {
            const rest = await (await fetch(url, { method: 'POST' })).json()
            response.end(wire(...chatAnswer((rest as { rest: string }).rest)))
          }),
          next: async (exchange) => {
            exchange.open('Content-Type: application/json').chunk('{"rest":')
            await later(20_000)
            exchange.chunk('"lo"}').end()
          },
        },
      ],
    ])('%s', async (_why, course) => {
      await using run = await broken(course)
      await run.upstream.exchange(1)
      await turns()
      await pass(19_900)
      expect(textOf(run.client.data)).toBe('Hel')
      expect(run.client.text).not.toContain('"error"')
      await pass(200)
      await run.client.finished()
      expect(textOf(run.client.data)).toBe('Hello')
      expect(run.server.ends).toMatchObject([{ outcome: 'completed' }])
    })

    test('its client has not read what it wrote', async () => {
      const large = chatChunk('x'.repeat(16_000_000))
      await using upstream = await startUpstream((exchange) => exchange.open().data(chatChunk('Hel')))
      await using server = await guarded(async (_request, response) => {
        await copy(upstream.url, response.writeHead(200, eventStream))
        response.write(wire(large))
        response.once('drain', () => response.end(wire(...chatAnswer('lo'))))
      })
      using client = await rawRequest({ port: server.port, body: { stream: true } }).received('Hel')
      client.socket.pause()
      await (await upstream.exchange(0)).reset()
      await (await upstream.exchange(0)).closed
      await turns()
      await pass(15_000)
      client.socket.resume()
      await client.finished()
      expect(client.body.complete).toBe(true)
      expect(client.bodyText.slice(-2_000)).not.toContain('"error"')
    })
  })

  test.each(['/v1/chat/completions', '/other'])(
    'a break is not reported in a response of %s that is not a stream, which stays as it is',
    async (path) => {
      const course: BrokenCourse = {
        handler: (url) => async (request, response) => {
          const signal = getSignal(request)
          const { body } = await fetch(url, { method: 'POST' })
          response.setHeader('Content-Type', 'application/json').write('["')
          try {
            for await (const chunk of body as unknown as AsyncIterable<Uint8Array>)
              response.write(/Hel/.exec(String(Buffer.from(chunk)))?.[0])
          } catch {}
          await later(20_000)
          response.end(signal.aborted ? ' is lost"]' : '"]')
        },
      }
      await using run = await broken(course, {}, path)
      await turns()
      for (let step = 0; step < 4; step++) await pass(5_100)
      await run.client.finished()
      expect(run.client.body.complete).toBe(true)
      expect(run.client.bodyText).toBe('["Hel"]')
      expect(run.server.ends).toEqual([])
    },
  )

  describe('the handler has five more seconds', () => {
    test.each<[string, BrokenCourse]>([
      [
        'from the response to another call',
        {
          handler: copying((_response, url) => void fetch(url, { method: 'POST' })),
          next: async (exchange) => {
            await later(8_000)
            exchange.answer('503 Service Unavailable', '{}')
          },
        },
      ],
      [
        'from a call that found no owner',
        {
          handler: copying((_response, url) => fetch(url, { method: 'POST' }).catch(() => {})),
          next: async (exchange) => {
            await later(8_000)
            await exchange.reset()
          },
        },
      ],
    ])('%s', async (_from, course) => {
      await using run = await broken(course)
      await run.upstream.exchange(1)
      await turns()
      // In steps: the work of a timer comes a few turns after it.
      await pass(5_000)
      await pass(3_000)
      await turns(50)
      await pass(4_900)
      await turns(50)
      expect(run.client.data).toHaveLength(1)
      await pass(300)
      await run.client.finished()
      expect(failureOf(run.client.data).code).toBe('connection_reset')
    })
  })

  test('an ending of its own that comes later than that is believed', async () => {
    await using run = await broken({
      handler: copying(async (response) => {
        for (const text of ['l', 'o', ' you']) {
          await later(2_000)
          response.write(wire(chatChunk(text)))
        }
        response.end(wire(chatChunk('', 'stop'), '[DONE]'))
      }),
    })
    await turns()
    for (let step = 0; step < 3; step++) await pass(2_100)
    await run.client.finished()
    expect(textOf(run.client.data)).toBe('Hello you')
    expect(run.client.data.at(-1)).toBe('[DONE]')
    expect(run.server.ends).toMatchObject([{ outcome: 'completed' }])
  })

  test('breakMs: false: a break is never reported, and the handler’s ending is believed', async () => {
    await using run = await broken({ handler: copying(end) }, { adopt: { breakMs: false } })
    await turns()
    await pass(19_900)
    expect(run.client.text).not.toContain('"error"')
    await pass(200)
    await run.client.finished()
    expect(textOf(run.client.data)).toBe('Hello')
  })

  test('breakMs: false: so is one that comes at once', async () => {
    const handler = copying((response) => response.end(wire(...chatAnswer('lo'))))
    await using run = await broken({ handler }, { adopt: { breakMs: false } })
    await run.client.finished()
    expect(textOf(run.client.data)).toBe('Hello')
    expect(run.server.ends).toMatchObject([{ outcome: 'completed' }])
  })
})

test('a break after the whole answer does not count, however long the pipe stays open', async () => {
  await using upstream = await startUpstream((exchange) => exchange.open().data(...chatAnswer('Hello')))
  await using server = await guarded(
    (_request, response) => {
      const through = new PassThrough()
      through.pipe(response.writeHead(200, eventStream))
      http
        .request(upstream.url, { method: 'POST' }, (answer) =>
          answer.on('data', (chunk) => through.write(chunk)),
        )
        .end()
      // More of the handler's own, so that the break is of a stream that it writes.
      response.write(': hi\n\n')
    },
    { adopt: { breakMs: 20 }, cleanup: { lingerMs: 200 } },
  )
  using client = await rawRequest({ port: server.port, body: { stream: true } }).received('[DONE]')
  await (await upstream.exchange(0)).reset()
  await client.finished()
  await expect.poll(() => server.ends).toMatchObject([{ outcome: 'completed' }])
})

test('data that has come while the process stood still counts', async () => {
  await using upstream = await startUpstream((exchange) => exchange.open().data(chatChunk('Hel')))
  await using server = await guarded(
    async (_request, response) => {
      response.writeHead(200, eventStream)
      // A call that the guard does not see: only the handler's writes show that it goes on.
      void unadopted(() => copy(`${upstream.url}/other`, response))
      await copy(`${upstream.url}/main`, response)
    },
    { adopt: { breakMs: 100 } },
  )
  using client = rawRequest({ port: server.port, body: { stream: true } })
  const exchanges = [await upstream.exchange(0), await upstream.exchange(1)]
  const main = exchanges.find(({ head }) => head.includes('/main'))
  const other = exchanges.find(({ head }) => head.includes('/other'))
  await client.received('Hel')
  await main?.reset()
  await main?.closed
  await turns(3)
  other?.data(...chatAnswer('lo'))
  const until = performance.now() + 300
  while (performance.now() < until);
  other?.end()
  await client.finished()
  expect(textOf(client.data)).toBe('HelHello')
  expect(server.ends).toMatchObject([{ outcome: 'completed' }])
})

test('an outer guard’s options hold where the inner one says nothing', async () => {
  const { default: express } = await import('express')
  const { guardStreams } = await import('../../src/adapters/express.js')
  const { listen } = await import('../support/proxy.js')
  await using upstream = await startUpstream((exchange) => exchange.open().data(chatChunk('Hel')))
  const app = express().use(guardStreams({ adopt: { onDisconnect: 'cancel' } }))
  app.post('/v1/chat/completions', guardStreams({ adopt: { breakMs: 50 } }), (_request, response) => {
    void copy(upstream.url, response.writeHead(200, eventStream))
  })
  await using server = await listen(app as never)
  using leaving = await rawRequest({ port: server.port, body: { stream: true } }).received('Hel')
  leaving.reset()
  await (await upstream.exchange(0)).closed
  using client = await rawRequest({ port: server.port, body: { stream: true } }).received('Hel')
  await (await upstream.exchange(1)).reset()
  await client.finished()
  expect(failureOf(client.data).code).toBe('connection_reset')
})
