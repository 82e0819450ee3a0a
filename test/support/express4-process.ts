import { spawn } from 'node:child_process'
import { once } from 'node:events'

const guard = `app.use(guardStreams({ timeouts: { inactivityMs: 200 }, adopt: { onDisconnect: 'cancel', release: true } }))`

const program = (handler: string, url: string, mounting: string) => `
  import http from 'node:http'
  import { Readable } from 'node:stream'
  import axios from 'axios'
  import express from 'express4'
  import got from 'got'
  import superagent from 'superagent'
  import undici from 'undici'
  import { createStreamMiddleware, guardStreams } from './dist/express.js'
  const url = ${JSON.stringify(url)}
  const app = express()
  ${mounting}
  app.post('/v1/chat/completions', ${handler})
  app.get('/alive', (request, response) => response.end('yes'))
  const server = app.listen(0, '127.0.0.1', () => process.send(server.address().port))
`

/** An app of Express 4 with one handler, in a process of its own: it may end. */
export async function startExpress4(handler: string, url: string, { isGuarded = true } = {}) {
  const args = ['--input-type=module', '-e', program(handler, url, isGuarded ? guard : '')]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe', 'ipc'] })
  let errors = ''
  child.stderr?.setEncoding('utf8').on('data', (text) => {
    errors += text
  })
  const [port] = await once(child, 'message')
  return {
    process: child,
    port: port as number,
    /** The text that it has written to stderr. */
    get errors() {
      return errors
    },
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
    },
  }
}
