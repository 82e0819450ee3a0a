// httpxy as its README shows it; its own agent keeps connections alive.
import { createServer } from 'node:http'
import { createProxyServer } from 'httpxy'

export const start = ({ upstreamPort }) => {
  const proxy = createProxyServer({})
  const target = `http://127.0.0.1:${upstreamPort}`
  return createServer(async (request, response) => {
    try {
      await proxy.web(request, response, { target })
    } catch (error) {
      response.statusCode = 500
      response.end(`Proxy error: ${error}`)
    }
  })
}
