// Servers that know nothing of unhang: node any-server.mjs KIND UPSTREAM_URL
import cluster from 'node:cluster'
import events from 'node:events'
import { createServer } from 'node:http'
import { createServer as createHttp2Server, createSecureServer } from 'node:http2'
import { createServer as createHttpsServer } from 'node:https'
import { createServer as createSocketServer } from 'node:net'
import { Worker } from 'node:worker_threads'

const [kind, upstreamUrl] = process.argv.slice(2)
const certificate = JSON.parse(process.env.CERTIFICATE ?? '{}')

async function relay(request, response) {
  if (request.url === '/page') return void response.end('a page')
  if (request.url === '/fails') throw new Error('a page that fails')
  const upstream = await fetch(upstreamUrl, { method: 'POST' })
  response.writeHead(200, { 'Content-Type': 'text/event-stream' })
  for await (const chunk of upstream.body) response.write(chunk)
  response.end()
}

async function guarded() {
  const { wrapApp } = await import('unhang')
  return createServer(wrapApp(relay, { timeouts: { inactivityMs: 400 } }))
}

async function routed() {
  const { handleStream } = await import('unhang')
  return createServer((_request, response) =>
    handleStream(
      response,
      async ({ relay }) => void (await relay(await fetch(upstreamUrl, { method: 'POST' }))),
    ),
  )
}

/** Express hears of the failure, or sees the promise. */
const rejects = (request, response) => relay(request, response)
const passesOn = (request, response, next) => relay(request, response).catch(next)

async function expressServer(name, handler) {
  const { default: express } = await import(name)
  return createServer(express().use(handler))
}

function upgrading() {
  return createServer(relay).on('upgrade', (_request, socket) => {
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n')
    socket.pipe(socket)
  })
}

const servers = {
  http: () => createServer(relay),
  'http, with captureRejections'() {
    events.captureRejections = true
    return createServer(relay)
  },
  https: () => createHttpsServer(certificate, relay),
  http2: () => createHttp2Server(relay),
  'http2, secure': () => createSecureServer({ ...certificate, allowHTTP1: true }, relay),
  net: () => createSocketServer((socket) => socket.pipe(socket)),
  upgrade: upgrading,
  'express 4': () => expressServer('express4', passesOn),
  'express 4, async': () => expressServer('express4', rejects),
  'express 5': () => expressServer('express', passesOn),
  'express 5, async': () => expressServer('express', rejects),
  wrapApp: guarded,
  handleStream: routed,
  'cluster worker': () => createServer(relay),
  'worker thread': () => createServer(relay),
}

if (kind === 'cluster' && cluster.isPrimary) {
  cluster.fork()
} else if (kind === 'thread') {
  new Worker(new URL(import.meta.url), { argv: ['worker thread', upstreamUrl] })
} else if (kind !== 'none') {
  const server = await servers[kind === 'cluster' ? 'cluster worker' : kind]()
  server.listen(0, '127.0.0.1', () => console.log(`listening on ${server.address().port}`))
}
