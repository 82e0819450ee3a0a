import { createServer } from 'node:http'
import { Readable } from 'node:stream'
import { chunksOf, eventStream, guard, listens, page } from './shared.js'

async function bodyOf(request) {
  let text = ''
  for await (const chunk of request) text += chunk
  return text
}

const routes = {
  async '/written/v1/chat/completions'(request, response) {
    const chunks = chunksOf(await bodyOf(request))
    response.writeHead(200, eventStream)
    for await (const chunk of chunks) response.write(chunk)
    response.end()
  },
  async '/piped/v1/chat/completions'(request, response) {
    const chunks = chunksOf(await bodyOf(request))
    Readable.from(chunks).pipe(response.writeHead(200, eventStream))
  },
  '/json': (_request, response) => response.setHeader('Content-Type', 'application/json').end('{"a":1}'),
  '/page': (_request, response) => response.setHeader('Content-Type', 'text/html').end(page),
  '/echo': async (request, response) => response.end(await bodyOf(request)),
  '/empty': (_request, response) => response.writeHead(204).end(),
}

let app = async (request, response) => {
  const route = routes[request.url]
  if (route) await route(request, response)
  else response.writeHead(404).end('nothing here')
}
if (guard) app = (await import('unhang')).wrapApp(app, guard)
const server = createServer(app).listen(0, '127.0.0.1', () => listens(server))
