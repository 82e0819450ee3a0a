// http-proxy-middleware as its README shows it for a plain server, with an agent that keeps connections alive: without
// one it opens a connection for each request.
import { Agent, createServer } from 'node:http'
import { createProxyMiddleware } from 'http-proxy-middleware'

export const start = ({ upstreamPort }) => {
  const target = `http://127.0.0.1:${upstreamPort}`
  const agent = new Agent({ keepAlive: true, maxSockets: Number.POSITIVE_INFINITY, timeout: 60_000 })
  return createServer(createProxyMiddleware({ target, agent, changeOrigin: true }))
}
