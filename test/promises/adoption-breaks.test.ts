import http from 'node:http'
import axios from 'axios'
import { describe, expect, test, vi } from 'vitest'
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

useFakeClock()

/** The ways of a handler after its upstream broke: each of these gives its client the whole answer. */
const recoveries: Record<string, BrokenCourse> = {
  'calls again at once': {
    handler: (url) => async (_request, response) => {
      await copy(url, response.writeHead(200, eventStream))
      await copy(url, response)
    },
  },
  'calls again after 500 ms': {
    handler: (url) => async (_request, response) => {
      await copy(url, response.writeHead(200, eventStream))
      await later(500)
      await copy(url, response)
    },
  },
  'calls again after 3 s': {
    handler: (url) => async (_request, response) => {
      await copy(url, response.writeHead(200, eventStream))
      await later(3_000)
      await copy(url, response)
    },
  },
  'asks for the rest as JSON, and ends the stream itself': {
    handler: (url) => async (_request, response) => {
      await copy(url, response.writeHead(200, eventStream))
      await later(1_500)
      const { data } = await axios.post(url)
      response.end(wire(...chatAnswer(data.rest)))
    },
    next: (exchange) => exchange.answer('200 OK', '{"rest":"lo"}'),
  },
}

test.each(Object.entries(recoveries))('a handler that %s has the last word', async (_how, course) => {
  await using run = await broken(course)
  for (let ms = 0; ms < 4_500 && !run.client.body.complete; ms += 100) await pass(100)
  expect(run.client.body.complete).toBe(true)
  expect(textOf(run.client.data)).toBe('Hello')
  expect(run.client.data.at(-1)).toBe('[DONE]')
  expect(run.server.ends).toMatchObject([{ outcome: 'completed' }])
})

test('no timer outlives the response', async () => {
  await using run = await broken(recoveries['calls again at once'] as BrokenCourse)
  await run.client.finished()
  await expect.poll(() => run.server.ends).toMatchObject([{ outcome: 'completed' }])
  await pass(5_100)
  expect(vi.getTimerCount()).toBe(0)
})

describe('a handler that does nothing after its upstream broke', () => {
  const silent: BrokenCourse = {
    handler: (url) => (_request, response) => copy(url, response.writeHead(200, eventStream)),
  }

  test('is waited for 5 s, and not longer', async () => {
    await using run = await broken(silent)
    await turns()
    await pass(4_900)
    expect(run.client.data).toHaveLength(1)
    await pass(200)
    await run.client.finished()
    expect(failureOf(run.client.data).code).toBe('connection_reset')
    expect(run.server.ends).toMatchObject([{ outcome: 'upstream_hangup' }])
  })

  test('has five more from each write', async () => {
    await using run = await broken({
      handler: (url) => async (_request, response) => {
        await copy(url, response.writeHead(200, eventStream))
        await later(4_000)
        response.write(wire(chatChunk('lo')))
      },
    })
    await turns()
    for (const durationMs of [4_100, 1_000, 3_800]) await pass(durationMs)
    await turns(50)
    expect(textOf(run.client.data)).toBe('Hello')
    expect(run.client.text).not.toContain('"error"')
    await pass(200)
    await run.client.finished()
    expect(failureOf(run.client.data).code).toBe('connection_reset')
  })
})

/** How the app itself may end a call. */
const ownAborts: Record<string, (url: string, response: http.ServerResponse) => unknown> = {
  'breaks out of its loop over fetch': async (url, response) => {
    for await (const chunk of (await fetch(url, { method: 'POST' }))
      .body as unknown as AsyncIterable<Uint8Array>) {
      response.write(chunk)
      break
    }
  },
  'aborts fetch with an error': async (url, response) => {
    const controller = new AbortController()
    const { body } = await fetch(url, { method: 'POST', signal: controller.signal })
    const reader = (body as ReadableStream<Uint8Array>).getReader()
    response.write((await reader.read()).value)
    controller.abort(new Error('enough'))
  },
  'destroys the response of http.request': (url, response) =>
    http
      .request(url, { method: 'POST' }, (upstream) =>
        upstream.once('data', (chunk) => {
          response.write(chunk)
          upstream.destroy()
        }),
      )
      .end(),
  'aborts axios': async (url, response) => {
    const controller = new AbortController()
    const { data } = await axios.post(url, undefined, { responseType: 'stream', signal: controller.signal })
    data
      .on('error', () => {})
      .once('data', (chunk: Buffer) => {
        response.write(chunk)
        controller.abort()
      })
  },
}

test.each(Object.entries(ownAborts))('a handler that %s is left alone', async (_how, act) => {
  await using upstream = await startUpstream((exchange) => exchange.open().data(chatChunk('Hel')))
  await using server = await guarded(async (_request, response) => {
    await act(upstream.url, response.writeHead(200, eventStream))
    await later(20_000)
    response.end(wire(...chatAnswer('lo')))
  })
  using client = rawRequest({ port: server.port, body: { stream: true } })
  await client.received('Hel')
  await (await upstream.exchange(0)).closed
  await turns()
  await pass(19_900)
  expect(textOf(client.data)).toBe('Hel')
  expect(client.text).not.toContain('"error"')
  await pass(200)
  await client.finished()
  expect(textOf(client.data)).toBe('Hello')
  expect(server.ends).toMatchObject([{ outcome: 'completed' }])
})

describe('a handler that says that the answer is complete after its upstream broke', () => {
  /** The last one is handed to end(). */
  const endings: Record<string, string[]> = {
    'finish_reason "stop" and [DONE]': [wire(chatChunk('', 'stop'), '[DONE]')],
    '[DONE] alone': [wire('[DONE]')],
    'one more piece, and the rest of a good ending': [wire(...chatAnswer('!'))],
    '[DONE] in two writes': ['data: [DO', 'NE]\n\n'],
    '[DONE] in three, without a blank line': ['data: ', '[DONE]', '\n'],
    'a piece, and half a [DONE] with it': [`${wire(chatChunk('!'))}data: [`, 'DONE]\n\n'],
    '"stop" in two writes': [wire(chatChunk('', 'stop')).slice(0, -9), wire(chatChunk('', 'stop')).slice(-9)],
  }
  test.each(Object.entries(endings))('%s: the break is reported to the client', async (_which, ending) => {
    await using run = await broken({
      handler: (url) => async (_request, response) => {
        await copy(url, response.writeHead(200, eventStream))
        for (const part of ending.slice(0, -1)) response.write(Buffer.from(part))
        response.end(ending.at(-1))
      },
    })
    await run.client.finished()
    expect(textOf(run.client.data)).toMatch(/^Hel!?$/)
    expect(run.client.bodyText).not.toContain('"stop"')
    expect(failureOf(run.client.data).code).toBe('connection_reset')
    await turns()
    expect(run.server.ends).toMatchObject([{ outcome: 'upstream_hangup', sawTerminal: false }])
  })

  test('half an event that it goes on with later arrives whole', async () => {
    const [piece, ...others] = chatAnswer('lo')
    const half = wire(piece).slice(0, 20)
    await using run = await broken({
      handler: (url) => async (_request, response) => {
        await copy(url, response.writeHead(200, eventStream))
        // An app may use its buffer again.
        const buffer = Buffer.from(half)
        response.write(buffer, () => buffer.fill('x'))
        await axios.post(url)
        response.write(wire(piece).slice(20))
        response.end(wire(...others))
      },
      next: (exchange) => exchange.answer('200 OK', '{}'),
    })
    await run.client.finished()
    expect(textOf(run.client.data)).toBe('Hello')
    expect(run.client.data.at(-1)).toBe('[DONE]')
    expect(run.server.ends).toMatchObject([{ outcome: 'completed', bytes: run.client.body.bytes.length }])
  })

  test('half an event is sent as it is, if nothing is wrong with its stream after all', async () => {
    await using upstream = await startUpstream((exchange) =>
      exchange.head.includes('/news') ? exchange.open().data({ custom: 0 }) : exchange.answer('200 OK', '{}'),
    )
    await using server = await guarded(async (_request, response) => {
      await copy(`${upstream.url}/news`, response.writeHead(200, eventStream))
      response.write('data: {"custom":1}\n\ndata: not wh')
      await axios.post(upstream.url)
      response.end()
    })
    using client = rawRequest({ port: server.port, path: '/news', body: { stream: true } })
    await client.received('custom')
    await (await upstream.exchange(0)).reset()
    await client.finished()
    expect(client.bodyText).toMatch(/custom":1\}\n\ndata: not wh$/)
    expect(server.ends).toMatchObject([{ bytes: client.body.bytes.length }])
  })

  test.each([
    ['one more piece of it', [' a pie']],
    ['its rest, which says that the answer is complete', [' a piece"}\n\ndata: [D', 'ONE]\n\n']],
  ])(
    'half an event that was sent before the break, and then %s: the error is an event of its own',
    async (_what, more) => {
      await using run = await broken({
        handler: (url) => async (_request, response) => {
          response.writeHead(200, eventStream)
          await new Promise((closed) => {
            const call = http.request(url, { method: 'POST' }, (upstream) => {
              upstream.on('data', (chunk) => response.write(`${chunk}data: {"half of`)).on('close', closed)
            })
            call.end()
          })
          for (const part of more) response.write(part)
          response.end()
        },
      })
      await run.client.finished()
      const [, half, error] = run.client.data
      expect(half).toMatch(/^\{"half of/)
      expect(JSON.parse(error ?? '')).toMatchObject({ error: { code: 'connection_reset' } })
      expect(run.client.bodyText).not.toContain('ONE]')
      expect(run.server.ends).toMatchObject([
        { outcome: 'upstream_hangup', bytes: run.client.body.bytes.length },
      ])
    },
  )

  test('is believed, if another upstream came to its good end', async () => {
    await using run = await broken({
      handler: (url) => async (_request, response) => {
        const lost = copy(url, response.writeHead(200, eventStream))
        let text = ''
        for await (const chunk of (await fetch(url, { method: 'POST' }))
          .body as unknown as AsyncIterable<Uint8Array>)
          text += Buffer.from(chunk)
        await lost
        response.end(text)
      },
    })
    await run.client.finished()
    expect(textOf(run.client.data)).toBe('Hello')
    expect(run.client.data.at(-1)).toBe('[DONE]')
  })
})

test.each(['application/json', 'application/vnd.amazon.eventstream'])(
  'a call beside a stream that is made of %s may break: the stream is none of its',
  async (type) => {
    await using upstream = await startUpstream((exchange) =>
      exchange.head.includes('/title')
        ? exchange.open().data(chatChunk('a title'))
        : exchange.open(`Content-Type: ${type}`).chunk('{"text":"Hel'),
    )
    await using server = await guarded(async (_request, response) => {
      const main = await fetch(`${upstream.url}/main`, { method: 'POST' })
      const title = await fetch(`${upstream.url}/title`, { method: 'POST' })
      response.writeHead(200, eventStream).write(wire(chatChunk('Hel')))
      const reader = (title.body as ReadableStream).getReader()
      await reader.read()
      await (await upstream.exchange(1)).reset()
      await reader.read().catch(() => {})
      response.end(wire(...chatAnswer('lo')))
      await main.body?.cancel()
    })
    using client = await rawRequest({ port: server.port, body: { stream: true } }).finished()
    expect(textOf(client.data)).toBe('Hello')
    expect(server.ends).toMatchObject([{ outcome: 'completed' }])
  },
)

test('a reset after the upstream’s own [DONE], which only the handler has read, counts as a break', async () => {
  await using upstream = await startUpstream((exchange) => exchange.open().data(...chatAnswer('Hello')))
  await using server = await guarded((_request, response) => {
    response.writeHead(200, eventStream)
    http
      .request(upstream.url, { method: 'POST' }, (answer) => {
        // Translated: its ending comes from the handler.
        answer.once('data', () => response.write(wire(chatChunk('Hallo'))))
        answer.on('error', () => response.end(wire('[DONE]')))
      })
      .end()
  })
  using client = await rawRequest({ port: server.port, body: { stream: true } }).received('Hallo')
  await (await upstream.exchange(0)).reset()
  await client.finished()
  expect(failureOf(client.data).code).toBe('connection_reset')
})

// Moderation, embeddings, a search: most of what a handler asks before its stream.
test.each<[string, (url: string) => Promise<unknown>]>([
  ['fetch', async (url) => (await fetch(url, { method: 'POST' })).json()],
  ['axios', (url) => axios.post(url)],
])('a whole response of %s before the stream does not excuse its break', async (_client, ask) => {
  await using upstream = await startUpstream((exchange) =>
    exchange.head.includes('/moderation')
      ? exchange.answer('200 OK', '{"flagged":false}')
      : exchange.open().data(chatChunk('Hel')),
  )
  await using server = await guarded(async (_request, response) => {
    await ask(`${upstream.url}/moderation`)
    await copy(upstream.url, response.writeHead(200, eventStream))
  })
  using client = await rawRequest({ port: server.port, body: { stream: true } }).received('Hel')
  await (await upstream.exchange(1)).reset()
  await (await upstream.exchange(1)).closed
  await turns()
  await pass(5_100)
  await client.finished()
  expect(failureOf(client.data).code).toBe('connection_reset')
  expect(server.ends).toMatchObject([{ outcome: 'upstream_hangup' }])
})
