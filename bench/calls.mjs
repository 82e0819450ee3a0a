// How many files and functions of src/ one event goes through: `npm run bench:calls [-- --how route|map|guard --list]`.
// Each event comes in a chunk of its own, as a model's tokens do.
import { once } from 'node:events'
import { createServer, get } from 'node:http'
import { Session } from 'node:inspector/promises'
import { sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { handleStream, wrapApp } from '../src/index.ts'

const { values: flags } = parseArgs({
  options: { how: { type: 'string', default: 'route' }, list: { type: 'boolean' } },
})
const events = 100
const source = fileURLToPath(new URL('../src', import.meta.url)) + sep
const chunk = {
  object: 'chat.completion.chunk',
  choices: [{ index: 0, delta: { content: 'Hello' }, finish_reason: null }],
}
const event = `data: ${JSON.stringify(chunk)}\n\n`

async function listen(listener) {
  const server = createServer(listener).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return server
}
const call = async (server, options) => {
  const [response] = await once(
    get({ port: server.address().port, host: '127.0.0.1', ...options }),
    'response',
  )
  return response
}

let upstreamResponse
const upstream = await listen((_, response) => {
  upstreamResponse = response
  response.writeHead(200, { 'content-type': 'text/event-stream' }).write(event)
})
const relayed = (map) => (_, response) =>
  void handleStream(response, (stream) => stream.relay(call(upstream), map))
const handlers = {
  route: relayed(),
  map: relayed((each) => each),
  guard: wrapApp(async (_, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    for await (const bytes of await call(upstream)) response.write(bytes)
    response.end()
  }),
}
const handler = handlers[flags.how]
if (!handler) throw new TypeError(`--how must be one of ${Object.keys(handlers)}, got ${flags.how}`)
const proxy = await listen(handler)
const client = await call(proxy, { path: '/v1/chat/completions' })
const next = client[Symbol.asyncIterator]()
await next.next()

const inspector = new Session()
inspector.connect()
await inspector.post('Profiler.enable')
await inspector.post('Profiler.startPreciseCoverage', { callCount: true, detailed: false })
await inspector.post('Profiler.takePreciseCoverage')
for (let sent = 0; sent < events; sent++) {
  upstreamResponse.write(event)
  await next.next()
}
const { result } = await inspector.post('Profiler.takePreciseCoverage')
inspector.disconnect()

const called = []
for (const { url, functions } of result) {
  if (!url.startsWith('file:') || !fileURLToPath(url).startsWith(source)) continue
  const file = fileURLToPath(url).slice(source.length)
  for (const { functionName: name, ranges } of functions) {
    // Work that runs now and then, say a timer, is not part of each event's way.
    if (ranges[0].count >= events / 2) called.push({ file, name, calls: ranges[0].count / events })
  }
}
const files = new Set(called.map(({ file }) => file))
const calls = called.reduce((sum, each) => sum + each.calls, 0)
if (flags.list)
  for (const { file, name, calls } of called) console.log(`${file}  ${name}  ${calls.toFixed(2)}`)
console.log(
  `${flags.how}: ${files.size} files, ${called.length} functions, ${calls.toFixed(1)} calls an event`,
)
for (const server of [proxy, upstream]) server.closeAllConnections()
process.exit(0)
