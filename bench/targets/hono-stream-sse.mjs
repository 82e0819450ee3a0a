// hono as its documentation shows it: streamSSE and one awaited writeSSE for each event, on @hono/node-server.
import { createAdaptorServer } from '@hono/node-server'
import { Hono } from 'hono'
import { streamSSE } from 'hono/streaming'
import { readChatData } from './qolaba-events.mjs'

export const start = ({ upstreamPort }) => {
  const app = new Hono()
  app.post('/v1/chat/completions', (context) => {
    const { pathname, search } = new URL(context.req.url)
    return streamSSE(context, async (stream) => {
      for await (const data of readChatData(upstreamPort, pathname + search)) await stream.writeSSE({ data })
    })
  })
  return createAdaptorServer(app)
}
