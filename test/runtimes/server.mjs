// A fetch handler on whichever runtime this is, for runtimes.test.ts: `server.mjs WAY UPSTREAM SETTINGS`.
// It prints its port, then each record and each message of a diagnostics channel, a line of JSON each.
import { guardStreams } from '../../dist/hono.js'
import { createResume } from '../../dist/resume.js'
import { getSignal, guardResponse, relayResponse, wrapApp } from '../../dist/web.js'

const [way, upstreamUrl, settings] = (globalThis.Deno?.args ?? process.argv.slice(2)).map(String)
const { options, detect, jsonAnswer, bugTrigger, isResumable } = JSON.parse(settings)
const print = (line) => console.log(JSON.stringify(line))
const resume = isResumable
  ? createResume({ owner: (request) => (request.req?.raw ?? request).headers.get('x-user') ?? undefined })
  : undefined
const relaying = {
  ...options,
  resume,
  onEnd: (end) => {
    print({ end })
    return true
  },
}
const guarding = { ...relaying, ...(detect === false && { when: 'responds' }) }

const { subscribe } = process.getBuiltinModule('node:diagnostics_channel')
for (const name of ['start', 'head', 'timeout', 'cleanup', 'reported', 'end']) {
  subscribe(`unhang:stream:${name}`, (message) => print({ name, message }))
}

const call = (body, signal) => fetch(`${upstreamUrl}/${body.upstreamPath ?? ''}`, { method: 'POST', signal })
const json = () => new Response(jsonAnswer, { headers: { 'content-type': 'application/json' } })

async function* withBug(upstream) {
  for await (const chunk of upstream) {
    const [before, ...after] = new TextDecoder().decode(chunk).split(`data: ${bugTrigger}`)
    if (before) yield new TextEncoder().encode(before)
    if (after.length > 0) throw new Error('password=hunter2')
  }
}

function streamFrom(chunks) {
  return new ReadableStream({
    async pull(controller) {
      const { done, value } = await chunks.next()
      if (done) controller.close()
      else controller.enqueue(value)
    },
    cancel: () => chunks.return(),
  })
}

async function answer(request, signal = getSignal(request)) {
  const body = await request.json()
  if (body.stream !== true) return json()
  const upstream = await call(body, signal)
  const chunks = body.mapped ? streamFrom(withBug(upstream.body)) : upstream.body
  return new Response(chunks, { headers: { 'content-type': 'text/event-stream' } })
}

const { Hono } = await import('hono')
const ways = {
  wrapApp: () => wrapApp((request) => answer(request), guarding),
  guardStreams: () => {
    const app = new Hono()
    app.use(guardStreams(guarding))
    app.post('*', ({ req }) => answer(req.raw))
    app.onError((_error, context) => context.text('Internal Server Error', 500))
    return (request) => app.fetch(request)
  },
  relayResponse: () => async (request) => {
    const body = await request.json()
    if (body.stream !== true) return json()
    const map = (event) => {
      if (event.data === bugTrigger) throw new Error('password=hunter2')
      return event
    }
    return await relayResponse(({ signal }) => call(body, signal), body.mapped ? map : undefined, {
      ...relaying,
      request,
    })
  },
  guardResponse: () => async (request) => {
    // A stream that goes on without its client cannot have a call that ends with it.
    const upstream = await answer(request, resume ? null : request.signal)
    return guardResponse(upstream, { ...relaying, request })
  },
}

const produce = ways[way]()
const resuming = resume && { GET: resume.rejoin(), DELETE: resume.stop() }
const handler = (request, ...more) => (resuming?.[request.method] ?? produce)(request, ...more)
const hostname = '127.0.0.1'
if (globalThis.Bun) {
  // As the guide says: Bun cuts what is silent for 10 seconds, unless it is told otherwise.
  print({ port: Bun.serve({ port: 0, hostname, idleTimeout: 0, fetch: handler }).port })
} else if (globalThis.Deno) {
  Deno.serve(
    {
      port: 0,
      hostname,
      onListen: ({ port }) => print({ port }),
      onError: () => new Response(null, { status: 500 }),
    },
    handler,
  )
} else {
  const { serve } = await import('@hono/node-server')
  serve({ fetch: handler, port: 0, hostname }, ({ port }) => print({ port }))
}
