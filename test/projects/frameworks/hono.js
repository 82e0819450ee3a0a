import { createServer } from 'node:http'
import { serve } from '@hono/node-server'
import { Hono } from 'hono'
import { proxy } from 'hono/proxy'
import { stream, streamSSE } from 'hono/streaming'
import { ask, chunksOf, eventStream, eventsOf, guard, listens, page, upstreamUrl } from './shared.js'

const app = new Hono()
app.post('/proxy/v1/chat/completions', (context) => proxy(upstreamUrl, { ...context.req, method: 'POST' }))
app.post('/response/v1/chat/completions', async (context) => {
  const { body } = await ask(await context.req.text())
  return new Response(body, { headers: eventStream })
})
app.post('/stream/v1/chat/completions', async (context) => {
  const body = await context.req.text()
  context.header('Content-Type', 'text/event-stream')
  return stream(context, async (out) => {
    for await (const chunk of chunksOf(body)) await out.write(chunk)
  })
})
app.post('/sse/v1/chat/completions', async (context) => {
  const body = await context.req.text()
  return streamSSE(context, async (out) => {
    for await (const data of eventsOf(body)) await out.writeSSE({ data })
  })
})

app.get('/json', (context) => context.json({ a: 1 }))
app.get('/page', (context) => context.html(page))
app.post('/echo', async (context) => context.text(await context.req.text()))
app.get('/empty', (context) => context.body(null, 204))
app.get('/fails', () => {
  throw new Error('a page that fails')
})

const { wrapApp } = guard ? await import('unhang') : {}
const server = serve(
  {
    fetch: app.fetch,
    port: 0,
    hostname: '127.0.0.1',
    ...(guard && {
      createServer: (...args) => createServer(...args.slice(0, -1), wrapApp(args.at(-1), guard)),
    }),
  },
  () => listens(server),
)
