import { Readable } from 'node:stream'
import replyFrom from '@fastify/reply-from'
import Fastify from 'fastify'
import { ask, chunksOf, guard, listens, page, upstreamUrl } from './shared.js'

const way = process.env.GUARD_BY
const serverFactory = way === 'serverFactory' && guard ? await factory() : undefined

async function factory() {
  const { createServer } = await import('node:http')
  const { wrapApp } = await import('unhang/fastify')
  return (handler) => createServer(wrapApp(handler, guard))
}

const app = Fastify({ ...(serverFactory && { serverFactory }) })
if (guard && way === 'plugin') app.register((await import('unhang/fastify')).default, guard)
app.register(replyFrom)

app.post('/from/v1/chat/completions', (_request, reply) => reply.from(upstreamUrl))
app.post('/response/v1/chat/completions', async (request) => {
  const { body, headers } = await ask(request.body)
  return new Response(body, { headers: { 'Content-Type': headers.get('Content-Type') } })
})
app.post('/stream/v1/chat/completions', async (request, reply) => {
  const { body } = await ask(request.body)
  return reply.type('text/event-stream').send(Readable.fromWeb(body))
})
app.post('/generator/v1/chat/completions', (request, reply) =>
  reply.type('text/event-stream').send(Readable.from(chunksOf(request.body))),
)
app.post('/hijack/v1/chat/completions', async (request, reply) => {
  reply.hijack()
  reply.raw.writeHead(200, { 'Content-Type': 'text/event-stream' })
  for await (const chunk of chunksOf(request.body)) reply.raw.write(chunk)
  reply.raw.end()
})
app.post('/raw/v1/chat/completions', async (request, reply) => {
  reply.raw.setHeader('Content-Type', 'text/event-stream')
  for await (const chunk of chunksOf(request.body)) reply.raw.write(chunk)
  reply.raw.end()
  return reply
})

app.get('/json', () => ({ a: 1 }))
app.get('/page', (_request, reply) => reply.type('text/html').send(page))
app.post('/echo', (request) => request.body)
app.get('/empty', (_request, reply) => reply.code(204).send())
app.get('/fails', () => {
  throw new Error('a page that fails')
})

if (guard && way === 'wrapApp') {
  const { createServer } = await import('node:http')
  const { wrapApp } = await import('unhang/fastify')
  const server = createServer(wrapApp(app, guard)).listen(0, '127.0.0.1', () => listens(server))
} else {
  await app.listen({ port: 0, host: '127.0.0.1' })
  listens(app.server)
}
