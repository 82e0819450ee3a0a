// Next.js with a custom server, as its documentation shows it.
import { createServer } from 'node:http'
import next from 'next'
import { guard, listens } from './shared.js'

const app = next({ dev: false, dir: 'next' })
await app.prepare()
let handler = app.getRequestHandler()
if (guard) handler = (await import('unhang')).wrapApp(handler, guard)
const server = createServer((request, response) => handler(request, response)).listen(0, '127.0.0.1', () =>
  listens(server),
)
