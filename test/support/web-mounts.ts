import { getRequestListener } from '@hono/node-server'
import { Hono } from 'hono'
import { guardStreams } from '../../src/adapters/hono.js'
import type { StreamOptions } from '../../src/index.js'
import { getSignal, relayResponse, wrapApp } from '../../src/web/index.js'
import {
  bugTrigger,
  type ChatRequest,
  jsonAnswer,
  type Mount,
  type MountedServer,
  type MountSettings,
} from './contract/mount.js'
import { chatUrl, serveHttp1 } from './mounts.js'
import { watchPrintedErrors } from './printed-errors.js'

const path = '/v1/chat/completions'

const fetchMount = { isFetch: true, releases: 'the upstream' } as const
const route = { ...fetchMount, kind: 'route', detects: false } as const
const guard = { ...fetchMount, kind: 'guard', detects: true } as const

function relaying({ onEnd, options }: MountSettings): StreamOptions {
  return { ...options, onEnd }
}

function guarding(settings: MountSettings): StreamOptions & { when?: 'responds' } {
  return { ...relaying(settings), ...(settings.detect === false && { when: 'responds' }) }
}

/** A fetch handler that knows nothing of unhang but its signal. */
async function answerNaively(url: string, request: Request, settings: MountSettings): Promise<Response> {
  const body = (await request.json()) as ChatRequest
  settings.hookInside?.(undefined as never)
  if (body.stream !== true)
    return new Response(jsonAnswer, { headers: { 'content-type': 'application/json' } })
  const upstream = await fetch(chatUrl(url, body), { method: 'POST', signal: getSignal(request) })
  const chunks = body.mapped ? ReadableStream.from(withBug(upstream.body as ReadableStream)) : upstream.body
  return new Response(chunks, { headers: { 'content-type': 'text/event-stream' } })
}

async function* withBug(upstream: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
  for await (const chunk of upstream) {
    const [before, ...after] = new TextDecoder().decode(chunk).split(`data: ${bugTrigger}`)
    if (before) yield new TextEncoder().encode(before)
    if (after.length > 0) throw new Error('password=hunter2')
  }
}

async function serveFetch(
  handler: (request: Request) => Response | Promise<Response>,
  settings: MountSettings,
): Promise<MountedServer> {
  const printed = watchPrintedErrors()
  const server = await serveHttp1(getRequestListener(handler), settings)
  return {
    ...server,
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]()
      printed[Symbol.dispose]()
    },
  }
}

/** `unhang/web` and `unhang/hono` on Hono's server for Node. */
export const webMounts: readonly Mount[] = [
  {
    ...guard,
    name: 'Hono, guardStreams',
    serve(url, settings) {
      const app = new Hono()
      app.use(guardStreams(guarding(settings)))
      app.post(path, ({ req }) => answerNaively(url, req.raw, settings))
      app.onError((_error, context) => context.text('Internal Server Error', 500))
      return serveFetch((request) => app.fetch(request), settings)
    },
  },
  {
    ...guard,
    name: 'unhang/web, wrapApp',
    serve: (url, settings) =>
      serveFetch(
        wrapApp((request: Request) => answerNaively(url, request, settings), guarding(settings)),
        settings,
      ),
  },
  {
    ...route,
    name: 'unhang/web, relayResponse',
    serve: (url, settings) =>
      serveFetch(async (request) => {
        const body = (await request.json()) as ChatRequest
        if (body.stream !== true) return Response.json(JSON.parse(jsonAnswer))
        return await relayResponse(
          ({ signal }) => {
            settings.hookInside?.(undefined as never)
            return fetch(chatUrl(url, body), { method: 'POST', signal })
          },
          body.mapped
            ? (event) => {
                if (event.data === bugTrigger) throw new Error('password=hunter2')
                return event
              }
            : undefined,
          { ...relaying(settings), request },
        )
      }, settings),
  },
]
