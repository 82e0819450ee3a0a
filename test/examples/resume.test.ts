import { expect, test } from 'vitest'
import { eventsIn, readSome } from '../resume/resumable.js'
import { textOf } from '../support/chat.js'
import { exampleFiles, startExample } from '../support/example-server.js'

const headers = { 'content-type': 'application/json', authorization: 'Bearer mine' }
const body = JSON.stringify({
  model: 'gpt-4o',
  messages: [{ role: 'user', content: 'Hello' }],
  stream: true,
})

test.each(exampleFiles)('%s: RESUME=memory', async (file) => {
  await using server = await startExample(file, { RESUME: 'memory' })
  const whole = await fetch(`${server.url}/v1/chat/completions`, { method: 'POST', headers, body })
  const expected = textOf(eventsIn(await whole.text()))
  const first = await readSome(`${server.url}/v1/chat/completions`, { method: 'POST', headers, body }, 3)
  const id = first.response.headers.get('unhang-stream')
  first.leave()
  const url = `${server.url}/v1/streams/${id}`
  const rest = await fetch(`${url}?after=${first.events.length}`, { headers })
  const events = [...first.events, ...eventsIn(await rest.text())]
  expect(events.at(-1)).toBe('[DONE]')
  expect(textOf(events)).toBe(expected)
  const others = { ...headers, authorization: 'Bearer theirs' }
  expect((await fetch(url, { headers: others })).status).toBe(404)
  expect((await fetch(url, { method: 'DELETE', headers: others })).status).toBe(404)
  expect((await fetch(url, { method: 'DELETE', headers })).status).toBe(204)
})
