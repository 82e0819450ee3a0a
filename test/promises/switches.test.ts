import { request as httpRequest } from 'node:http'
import { describe, expect, test } from 'vitest'
import {
  createStreamMiddleware,
  guardStreams,
  type StreamMiddlewareOptions,
} from '../../src/adapters/express.js'
import type { StreamEnd } from '../../src/index.js'
import { chatChunk, heartbeatPattern } from '../support/chat.js'
import { expressVersions } from '../support/express-versions.js'
import { listen, upstreamClients } from '../support/proxy.js'
import { rawRequest } from '../support/raw-client.js'
import { startUpstream } from '../support/scripted-upstream.js'
import { eventStream } from '../support/wire.js'

const [, express] = expressVersions[0] as (typeof expressVersions)[0]

/** The effects of the seven fixes of the plan on one proxy, each seen in a way that the others have no part in. */
async function observe(
  how: 'middleware' | 'guard',
  options: StreamMiddlewareOptions & { detects?: boolean },
) {
  const path = '/v1/chat/completions'
  await using upstream = await startUpstream((exchange) => {
    if (exchange.head.includes('/silent')) exchange.open().data(chatChunk('Hi'))
    else if (exchange.head.includes('/dumb')) return
    else if (exchange.head.includes('/resetting')) exchange.open().data(chatChunk('Hi')).fin()
    else exchange.open().data(chatChunk('Hi'), chatChunk('', 'stop'), '[DONE]')
  })
  const app = express()
  const timeouts = options.timeouts === false ? (false as const) : { inactivityMs: 150 }
  const writer = { heartbeatMs: 40, ...options.writer }
  const ends: StreamEnd[] = []
  const onEnd = (end: StreamEnd) => ends.push(end)
  const { detects = true, ...switched } = options
  const all = { ...switched, cleanup: options.cleanup ?? { lingerMs: 50 }, timeouts, writer, onEnd }
  const { when: _when, ...guarded } = all
  if (how === 'guard') app.use(guardStreams({ ...guarded, when: detects ? 'requested' : 'responds' }))
  else {
    const relay = createStreamMiddleware(
      async (each, request) =>
        each.relay(await upstreamClients.http(`${upstream.url}${request.query.kind ?? ''}`, each)),
      { ...all, when: detects ? 'requested' : 'always' },
    )
    app.post(path, express.json(), relay, (_request, response) => void response.json({}))
  }
  // A handler that knows nothing of unhang.
  app.post(path, express.json(), async (request, response) => {
    if (request.body.stream !== true) return void response.json({})
    if (request.query.kind === '/dumb') return
    const call = httpRequest(`${upstream.url}${request.query.kind ?? ''}`, { method: 'POST' })
    call.on('response', (answer) => answer.pipe(response.writeHead(200, eventStream))).end()
  })
  await using server = await listen(app)
  const ask = (kind: string, body: object = { stream: true }) =>
    rawRequest({ port: server.port, path: `${path}?kind=${kind}`, body })

  using good = await ask('').finished()
  const upstreamSocket = (await upstream.exchange(0)).socket
  using resetting = await ask('/resetting').finished()
  using plain = await ask('', { model: 'any' }).finished()
  const left = await ask('/dumb').until(() => true)
  await new Promise((resolve) => setTimeout(resolve, 50))
  left.reset()
  using silent = await ask('/silent').received('Hi')
  // Long enough for all deadlines, heartbeats and lingering.
  await new Promise((resolve) => setTimeout(resolve, 800))
  return {
    'Fix 1 and 6, timeouts':
      silent.text.includes('upstream_inactivity_timeout') || silent.ending !== undefined,
    'Fix 2, heartbeats': heartbeatPattern.test(silent.bodyText),
    'Fix 3, headers': good.header('x-accel-buffering') === 'no',
    'Fix 4, cleanup': upstreamSocket.destroyed,
    'Fix 5, reporting': resetting.text.includes('connection_reset'),
    // The guard times, and records, no more than it takes for a stream.
    'Fix 7, detection':
      how === 'guard'
        ? ends.some(({ outcome }) => outcome === 'client_gone')
        : plain.header('content-type')?.startsWith('application/json') === true,
  }
}

const all = {
  'Fix 1 and 6, timeouts': true,
  'Fix 2, heartbeats': true,
  'Fix 3, headers': true,
  'Fix 4, cleanup': true,
  'Fix 5, reporting': true,
  'Fix 7, detection': true,
}

describe.each(['middleware', 'guard'] as const)(
  'each fix of the plan can be switched off in the %s, and takes nothing else with it',
  (how) => {
    test('all on', async () => {
      expect(await observe(how, {})).toEqual(all)
    })

    test.each<[keyof typeof all, Parameters<typeof observe>[1]]>([
      ['Fix 1 and 6, timeouts', { timeouts: false }],
      ['Fix 2, heartbeats', { writer: { heartbeatMs: Number.POSITIVE_INFINITY } }],
      ['Fix 3, headers', { writer: { headers: false } }],
      ['Fix 4, cleanup', { cleanup: false }],
      ['Fix 5, reporting', { reportErrors: false }],
      ['Fix 7, detection', { detects: false }],
    ])('%s', async (fix, options) => {
      expect(await observe(how, options)).toEqual({ ...all, [fix]: false })
    })
  },
)
