// One peer as its documentation shows it: `node serve.mjs NAME UPSTREAM_PORT PORT`.
import { spawn } from 'node:child_process'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const [, , name, upstreamPort, port] = process.argv
const target = `http://127.0.0.1:${upstreamPort}`
const host = '127.0.0.1'

const peers = {
  async 'http-proxy-middleware'() {
    const { createProxyMiddleware } = await import('http-proxy-middleware')
    createServer(createProxyMiddleware({ target, changeOrigin: true })).listen(port, host)
  },
  async 'express-http-proxy'() {
    const { default: express } = await import('express')
    const { default: proxy } = await import('express-http-proxy')
    express().use(proxy(target)).listen(port, host)
  },
  async '@fastify/reply-from'() {
    const { default: fastify } = await import('fastify')
    const { default: replyFrom } = await import('@fastify/reply-from')
    const app = fastify()
    await app.register(replyFrom, { base: target })
    app.all('/*', (request, reply) => reply.from(request.url))
    await app.listen({ port: Number(port), host })
  },
  async hono() {
    const { serve } = await import('@hono/node-server')
    const { Hono } = await import('hono')
    const { proxy } = await import('hono/proxy')
    const app = new Hono()
    app.all('*', (context) => proxy(target + new URL(context.req.url).pathname, context.req))
    serve({ fetch: app.fetch, port: Number(port), hostname: host })
  },
  async h3() {
    const { H3, proxyRequest, serve } = await import('h3')
    const app = new H3().all('/**', (event) => proxyRequest(event, target + event.url.pathname))
    serve(app, { port: Number(port), hostname: host, silent: true })
  },
  nginx() {
    const folder = mkdtempSync(join(tmpdir(), 'unhang-peers-'))
    const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
      .map((each) => `${each}_temp_path ${folder}/${each};`)
      .join(' ')
    writeFileSync(
      join(folder, 'nginx.conf'),
      `daemon off; pid ${folder}/pid; error_log stderr crit; events {}
      http { access_log off; ${paths}
        upstream model { server 127.0.0.1:${upstreamPort}; keepalive 16; }
        server { listen 127.0.0.1:${port}; location / {
          proxy_pass http://model; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; } } }`,
    )
    const nginx = spawn('nginx', ['-e', 'stderr', '-c', join(folder, 'nginx.conf')], { stdio: 'inherit' })
    process.on('SIGTERM', () => nginx.kill()).on('disconnect', () => nginx.kill())
    nginx.once('exit', () => process.exit())
  },
  async 'unhang, a streaming route'() {
    const { default: express } = await import('express')
    const { createStreamMiddleware } = await import('../../dist/express.js')
    const { respondWithError } = await import('../../dist/index.js')
    const post = (request) => [
      target + request.url,
      { method: 'POST', body: JSON.stringify(request.body), headers: { 'content-type': 'application/json' } },
    ]
    const app = express().use(express.json())
    app.post(
      '/v1/chat/completions',
      createStreamMiddleware(
        ({ openUpstream, relay }, request) => {
          const [url, call] = post(request)
          return relay(openUpstream(({ signal }) => fetch(url, { ...call, signal })))
        },
        { timeouts: { firstByteMs: 60_000, totalMs: 90_000 } },
      ),
      async (request, response) => {
        const answer = await fetch(...post(request))
        response.status(answer.status).json(await answer.json())
      },
    )
    app.use((error, _request, response, _next) =>
      respondWithError(error, response, { dialect: 'openaiChat' }),
    )
    app.listen(port, host)
  },
}

await peers[name]()
