// @fastify/reply-from as its README shows it: a base, and `reply.from`; undici asks the upstream.
import replyFrom from '@fastify/reply-from'
import fastify from 'fastify'

export async function start({ upstreamPort }) {
  const app = fastify()
  await app.register(replyFrom, { base: `http://127.0.0.1:${upstreamPort}/` })
  app.post('/v1/chat/completions', (request, reply) => reply.from(request.url))
  await app.ready()
  return app.server
}
