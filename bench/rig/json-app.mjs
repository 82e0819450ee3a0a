// An Express app that answers with JSON, as its own process: `node json-app.mjs bare|plain|unadopted|guarded`.
import { createServer } from 'node:http'
import express from 'express'
import { wrapApp } from 'unhang/express'
import { plainGuard } from './plain-guard.mjs'

process.on('disconnect', () => process.exit())
process.on('SIGINT', () => process.exit())

const app = express().post('/v1/chat/completions', (_request, response) =>
  response.json({ object: 'chat.completion' }),
)
const ways = {
  bare: (bare) => bare,
  plain: plainGuard,
  unadopted: (bare) => wrapApp(bare, { adopt: false }),
  guarded: wrapApp,
}
const server = createServer(ways[process.argv[2]](app))
server.keepAliveTimeout = 60_000
server.listen(0, '127.0.0.1', () => process.send({ port: server.address().port }))
