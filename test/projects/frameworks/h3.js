import { createServer } from 'node:http'
import { createEventStream, H3, iterable, proxy, toNodeHandler } from 'h3'
import { ask, chunksOf, eventStream, eventsOf, guard, listens, page, upstreamUrl } from './shared.js'

const app = new H3()
app.post('/proxy/v1/chat/completions', async (event) =>
  proxy(event, upstreamUrl, { method: 'POST', body: await event.req.text() }),
)
app.post('/response/v1/chat/completions', async (event) => {
  const { body } = await ask(await event.req.text())
  return new Response(body, { headers: eventStream })
})
app.post('/iterable/v1/chat/completions', async (event) => {
  event.res.headers.set('Content-Type', 'text/event-stream')
  return iterable(chunksOf(await event.req.text()))
})
app.post('/sse/v1/chat/completions', async (event) => {
  const body = await event.req.text()
  const stream = createEventStream(event)
  const run = async () => {
    for await (const data of eventsOf(body)) await stream.push(data)
  }
  // A rejection that no code catches ends the process, whatever stands around the app.
  run()
    .catch(() => {})
    .finally(() => stream.close())
  return stream.send()
})

app.get('/json', () => ({ a: 1 }))
app.get('/page', (event) => {
  event.res.headers.set('Content-Type', 'text/html')
  return page
})
app.post('/echo', (event) => event.req.text())
app.get('/empty', (event) => {
  event.res.status = 204
  return ''
})
app.get('/fails', () => {
  throw new Error('a page that fails')
})

let handler = toNodeHandler(app)
if (guard) handler = (await import('unhang')).wrapApp(handler, guard)
const server = createServer(handler).listen(0, '127.0.0.1', () => listens(server))
