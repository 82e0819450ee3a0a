import { spawn } from 'node:child_process'
import { once } from 'node:events'

const program = (handler: string, url: string) => `
  import { Readable } from 'node:stream'
  import axios from 'axios'
  import express from 'express4'
  import got from 'got'
  import undici from 'undici'
  import { guardStreams } from './dist/express.js'
  const url = ${JSON.stringify(url)}
  const app = express()
  app.use(guardStreams({ timeouts: { inactivityMs: 200 }, adopt: { onDisconnect: 'cancel', release: true } }))
  app.post('/v1/chat/completions', ${handler})
  app.get('/alive', (request, response) => response.end('yes'))
  const server = app.listen(0, '127.0.0.1', () => process.send(server.address().port))
`

/** A guarded app of Express 4 with one handler, in a process of its own: it may end. */
export async function startGuarded(handler: string, url: string) {
  const args = ['--input-type=module', '-e', program(handler, url)]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
  const [port] = await once(child, 'message')
  return {
    process: child,
    port: port as number,
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
    },
  }
}
