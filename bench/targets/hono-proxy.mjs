// hono's proxy helper as its documentation shows it, on @hono/node-server; fetch asks the upstream.
import { createAdaptorServer } from '@hono/node-server'
import { Hono } from 'hono'
import { proxy } from 'hono/proxy'

export const start = ({ upstreamPort }) => {
  const app = new Hono()
  app.post('/v1/chat/completions', (context) => {
    const { pathname, search } = new URL(context.req.url)
    return proxy(`http://127.0.0.1:${upstreamPort}${pathname}${search}`, context.req)
  })
  return createAdaptorServer(app)
}
