// Only compiled, never run: with every TypeScript, module resolution and framework that is supported.
import type { IncomingMessage, ServerResponse } from 'node:http'
import axios from 'axios'
import express, { type Request } from 'express'
import type { FastifyInstance } from 'fastify'
import type { Hono } from 'hono'
import type { Context, Middleware } from 'koa'
import OpenAI from 'openai'
import { request as undiciRequest } from 'undici'
import {
  alignServerTimeouts,
  coordinatedSocketCleanup,
  createSSEWriter,
  detectStreamingRequest,
  encodeEvent,
  getSignal,
  getStream,
  handleSocketHangUp,
  handleStream,
  isSocketHangUp,
  isStreamError,
  isUpstreamError,
  openUpstream,
  readAnswer,
  readEventStream,
  relayEventStream,
  respondWithError,
  type StreamContext,
  type StreamErrorCode,
  type StreamOptions,
  selectTimeoutProfile,
  subscribeStreams,
  TimeoutCoordinator,
  timeoutProfiles,
  type UpstreamError,
  watchConnect,
  wrapApp,
} from 'unhang'
import * as onExpress from 'unhang/express'
import fastifyPlugin, * as onFastify from 'unhang/fastify'
import * as onHono from 'unhang/hono'
import * as onKoa from 'unhang/koa'
import { assertCleanEnding, faults, rawRequest, startUpstream } from 'unhang/testing'

const url = 'http://127.0.0.1:3000/v1/chat/completions'

/** The lines that every app must write, for each client, of a guarded request and in a route. */
export async function signals(
  request: IncomingMessage,
  context: Context,
  { signal, openUpstream: open, relay, read }: StreamContext,
): Promise<void> {
  await fetch(url, { signal: getSignal(request) })
  await axios.post(url, {}, { responseType: 'stream', signal: getSignal(request) })
  await undiciRequest(url, { method: 'POST', signal: getSignal(context) })
  const client = new OpenAI({ apiKey: 'none', maxRetries: 0 })
  const chat = {
    model: 'gpt-4o',
    messages: [{ role: 'user' as const, content: 'Hi' }],
    stream: true as const,
  }
  for await (const _chunk of await client.chat.completions.create(chat, { signal: getSignal(request) }));

  await relay(fetch(url, { signal }))
  await relay(axios.post(url, {}, { responseType: 'stream', signal }))
  await relay(undiciRequest(url, { method: 'POST', signal }), ({ data }) => ({ data }))
  await relay(await client.chat.completions.create(chat, { signal }).asResponse())
  for await (const { data } of read(fetch(url, { signal }))) data.toUpperCase()

  await relay(await open(({ signal }) => fetch(url, { signal }), { retries: 2 }))
  await open(({ signal, attempt }) =>
    axios.get(url, { signal, headers: { attempt }, responseType: 'stream' }),
  )
  await open(({ signal }) => undiciRequest(url, { signal }))
  await open(({ signal }) => client.chat.completions.create(chat, { signal }).asResponse())
  const answer: Response = await openUpstream(({ signal }) => fetch(url, { signal }), {
    signal: getSignal(request),
    shouldRetry: (error, attempt) => (error.outcome === 'upstream_hangup' && attempt < 2 ? true : undefined),
    onRetry: ({ attempt, error, delayMs }) => console.log(attempt, error.code, delayMs),
  })
  await readAnswer(answer)
  const own: AbortSignal | undefined = getStream(request)?.signal
  own?.throwIfAborted()
}

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
function isTrue<T extends true>(): T | undefined {
  return undefined
}

export function errors(error: unknown): void {
  if (isStreamError(error) && error.outcome === 'upstream_error') {
    isTrue<Same<typeof error, UpstreamError>>()
    const status: number | undefined = error.upstreamStatus
    console.log(status)
  }
  if (isUpstreamError(error)) console.log(error.detail)
  if (isStreamError(error) && error.outcome === 'timeout') console.log(error.phase, error.timeoutMs)
  if (isStreamError(error)) {
    // Its literals are offered, and a code of the app's own is allowed.
    isTrue<StreamErrorCode extends typeof error.code ? true : false>()
    const code: StreamErrorCode = 'connection_reset'
    console.log(error.code === code, error.name === 'AbortError')
  }
}

/** Settings come from the environment: each may be `undefined`. */
export async function settings(response: ServerResponse, request: IncomingMessage): Promise<void> {
  const off = undefined as undefined
  const number = Number(process.env.MS) || undefined
  const flag = process.env.FLAG === undefined ? undefined : true
  const name = process.env.PROFILE as 'advanced' | undefined
  const dialect = process.env.DIALECT as 'openaiChat' | undefined
  const timeouts = {
    connectMs: number,
    firstByteMs: number,
    firstEventMs: number,
    inactivityMs: number,
    upstreamStallMs: number,
    clientStallMs: number,
    totalMs: number,
  }
  const writer = {
    heartbeatMs: number,
    heartbeat: off,
    framing: off,
    maxBufferedBytes: number,
    headers: off,
    cors: flag,
  }
  const stream: StreamOptions = {
    timeouts,
    writer: { ...writer, headersAfterMs: number },
    relay: { maxEventBytes: number, onTruncated: off },
    cleanup: { closeMs: number, lingerMs: number },
    dialect,
    doneAfterError: flag,
    reportErrors: flag,
    exposeUpstreamErrors: flag,
    advancedModels: off,
    onEnd: off,
  }
  const unset: StreamOptions = { timeouts: name, writer: off, relay: off, cleanup: off }
  const detect = { paths: off, userAgents: off }
  const handler = ({ writer }: StreamContext) => writer.write('hello')
  await handleStream(response, handler, { ...stream, signal: off, model: off, requestId: off })
  onExpress.createStreamMiddleware(handler, { ...stream, when: off, detect, model: off, timeouts: off })
  onKoa.createStreamMiddleware(handler, { ...unset, when: off, detect: off, model: off })
  onExpress.guardStreams({ ...stream, writer, when: off, detect })
  onKoa.guardStreams({ ...unset, writer: off, when: off, detect: off })
  wrapApp(() => {}, { ...stream, writer, onEnd: off })
  createSSEWriter(response, { ...writer, headersAfterMs: number, signal: off })
  const retry = {
    retries: number,
    retryUncertain: flag,
    minAttemptMs: number,
    shouldRetry: off,
    onRetry: off,
  }
  const answer = await openUpstream(() => fetch(url), { ...retry, signal: off, timeouts: name })
  const reading = { maxEventBytes: number, signal: off, onChunk: off }
  for await (const _event of readEventStream(answer, reading));
  await readAnswer(answer, { ...reading, dialect })
  const { signal: _signal, ...relaying } = reading
  const target = createSSEWriter(response)
  await relayEventStream(answer, target, { ...relaying, map: off, dialect, onTruncated: off })
  respondWithError(new Error(), response, { dialect, exposeUpstreamErrors: flag, requestId: off })
  handleSocketHangUp(new Error(), response, { dialect: off })
  await coordinatedSocketCleanup(answer, { reason: off, closeMs: number, lingerMs: number })
  new TimeoutCoordinator(name, { defaults: name, signal: off, beforeTimeout: off })
  selectTimeoutProfile({ streaming: true, model: off }, { advancedModels: off })
  detectStreamingRequest(request, detect)
  alignServerTimeouts(express().listen(0), { idleMs: number, heartbeatMs: number, apply: flag })
  subscribeStreams({ onStart: off, onHead: off, onTimeout: off, onCleanup: off, onReported: off, onEnd: off })
  rawRequest({ port: 1, method: off, path: off, headers: off, body: off, httpVersion: off })
  encodeEvent({ data: 'x', event: off, id: off, retry: number })
}

/** The arguments of handlers, and the types they are mounted as. */
export function mounts(app: ReturnType<typeof express>): void {
  const one = onExpress.createStreamMiddleware(({ writer }, request: Request<{ id: string }>) =>
    writer.write(request.params.id.toUpperCase()),
  )
  app.post('/chats/:id', one)
  app.post(
    '/chats',
    onExpress.createStreamMiddleware(({ signal }, request, response) => {
      console.log(signal.aborted, request.body, request.headers, response.locals)
    }),
  )
  app.use(onExpress.guardStreams())
  const middleware: Middleware = onKoa.createStreamMiddleware((_stream, context) => context.path)
  const guard: Middleware = onKoa.guardStreams()
  console.log(middleware, guard, wrapApp(app), onExpress.wrapApp(app), isSocketHangUp(undefined))
  console.log(timeoutProfiles.advanced.totalMs, watchConnect, startUpstream(faults.good), assertCleanEnding)
}

/** The same in Fastify and Hono. */
export function moreMounts(fastify: FastifyInstance, hono: Hono): void {
  fastify.register(fastifyPlugin, { writer: { heartbeatMs: 5_000 } })
  fastify.register(onFastify.guardStreams({ timeouts: 'advanced' }))
  fastify.post<{ Body: { model: string } }>(
    '/chats',
    onFastify.createStreamMiddleware<{ Body: { model: string } }>(({ writer }, { body }) =>
      writer.write(body.model.toUpperCase()),
    ),
  )
  hono.use(onHono.guardStreams({ skip: ({ req }) => req.path === '/health' }))
  hono.post('/chats', (context) => fetch(url, { signal: onHono.getSignal(context) }))
  console.log(onFastify.wrapApp(fastify), onHono.wrapApp(hono))
}

/** Refused lines: if `unhang` were `any`, as a package that is not found is, these would be no errors. */
export function mistakes(request: IncomingMessage, response: ServerResponse): void {
  // @ts-expect-error a signal, and nothing else
  const text: string = getSignal(request)
  // @ts-expect-error where an option stands tells who reads it
  handleStream(response, () => {}, { heartbeatMs: 1 })
  // @ts-expect-error the handler sends the headers
  onExpress.guardStreams({ writer: { headersAfterMs: 1 } })
  // @ts-expect-error no such dialect
  onKoa.guardStreams({ dialect: 'openai' })
  // @ts-expect-error a profile by its name
  onFastify.guardStreams({ timeouts: 'fast' })
  // @ts-expect-error the headers are sent with the response
  onHono.guardStreams({ writer: { headersAfterMs: 1 } })
  // @ts-expect-error one object
  openUpstream((signal: AbortSignal) => fetch(url, { signal }))
  // @ts-expect-error no such fault
  startUpstream(faults.god)
  console.log(text)
}
