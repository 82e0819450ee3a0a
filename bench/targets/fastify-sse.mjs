// @fastify/sse as its README shows it: a route with `sse: true`, and an async iterable of events to send.
import fastifySSE from '@fastify/sse'
import fastify from 'fastify'
import { readChatData } from './qolaba-events.mjs'

export async function start({ upstreamPort }) {
  const app = fastify()
  await app.register(fastifySSE)
  app.post('/v1/chat/completions', { sse: true }, async (request, reply) => {
    // A string is sent as it is; the data of an object would be made JSON once more.
    await reply.sse.send(readChatData(upstreamPort, request.url))
  })
  await app.ready()
  return app.server
}
