import { expect, test } from 'vitest'
import { startExample } from '../../support/example-server.js'
import { eventsIn, readSome } from '../resumable.js'
import { RedisServer } from './server.js'

const headers = { 'content-type': 'application/json', authorization: 'Bearer mine' }
const body = JSON.stringify({
  model: 'gpt-4o',
  messages: [{ role: 'user', content: 'Hello' }],
  stream: true,
})

test('RESUME=redis://…: a stream of one example server is rejoined and stopped at the other', async () => {
  const redis = await RedisServer.start()
  try {
    await using express = await startExample('express-server.ts', { RESUME: redis.url })
    await using koa = await startExample('koa-server.ts', { RESUME: redis.url })
    const first = await readSome(`${express.url}/v1/chat/completions`, { method: 'POST', headers, body }, 3)
    const id = first.response.headers.get('unhang-stream')
    first.leave()
    const url = `${koa.url}/v1/streams/${id}`
    const rest = await fetch(`${url}?after=${first.events.length}`, { headers })
    expect(rest.status).toBe(200)
    expect(eventsIn(await rest.text()).at(-1)).toBe('[DONE]')
    const others = { ...headers, authorization: 'Bearer theirs' }
    expect((await fetch(url, { headers: others })).status).toBe(404)
    expect((await fetch(url, { method: 'DELETE', headers })).status).toBe(204)
  } finally {
    await redis.close()
  }
})
