import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { getRequestListener } from '@hono/node-server'
import {
  encodeEvent,
  handleStream,
  type StreamContext,
  type StreamEnd,
  type StreamOptions,
} from '../../src/index.js'
import { createResume, type Resume, type ResumeHandler, type ResumeOptions } from '../../src/resume/index.js'
import { relayResponse } from '../../src/web/index.js'
import { chatChunk } from '../support/chat.js'
import { listenOn, type TestServer } from '../support/proxy.js'
import { eventStream } from '../support/wire.js'
import type { StoresUnderTest } from './store-contract.js'

/** What a handler needs to produce a stream, wherever it is mounted. */
export interface Producing {
  readonly signal: AbortSignal
  readonly writer: Pick<StreamContext['writer'], 'write'>
}

/** @param onLeft hears when the client leaves */
export type Produce = (stream: Producing, onLeft: (listener: () => void) => void) => unknown

/** A process that produces streams and lets clients rejoin them. */
export interface ResumableServer extends TestServer {
  readonly server: Server
  readonly resume: Resume
  /** The records of all its streams, also of those that were rejoined. */
  readonly ends: StreamEnd[]
}

type Listener = (request: IncomingMessage, response: ServerResponse) => void

interface Streaming extends StreamOptions {
  readonly resume: Resume
}

/** How streams are produced, and rejoined, of whichever kind the handlers are. */
export interface ResumeMount {
  readonly name: string
  readonly owner: NonNullable<ResumeOptions<never>['owner']>
  /** Whether `drainStreams` knows what is produced. */
  readonly drains: boolean
  listener(handler: ResumeHandler): Listener
  producer(produce: Produce, options: Streaming): Listener
}

export const routeMount: ResumeMount = {
  name: 'a route',
  owner: ({ headers }: IncomingMessage) => headers['x-user']?.toString(),
  drains: true,
  listener: (handler) => (request, response) => void handler(request, response),
  producer: (produce, options) => (_request, response) => {
    const onLeft = (listener: () => void) => response.on('close', listener)
    void handleStream(response, async (stream) => void (await produce(stream, onLeft)), options)
  },
}

/** Fetch handlers, on Hono's server for Node. */
export const fetchMount: ResumeMount = {
  name: 'a fetch handler',
  owner: ({ headers }: Request) => headers.get('x-user') ?? undefined,
  drains: false,
  listener: (handler) => getRequestListener((request, bindings) => handler(request, bindings)),
  producer: (produce, options) =>
    getRequestListener((request) =>
      relayResponse(({ signal }) => produced(produce, signal, request), undefined, { ...options, request }),
    ),
}

/** An upstream that sends what is written. */
function produced(produce: Produce, signal: AbortSignal, request: Request): Response {
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>()
  const sink = writable.getWriter()
  const encoder = new TextEncoder()
  const write: Producing['writer']['write'] = (event) =>
    sink.write(encoder.encode(encodeEvent(typeof event === 'string' ? { data: event } : event)))
  const onLeft = (listener: () => void) => request.signal.addEventListener('abort', listener)
  const done = (async () => await produce({ signal, writer: { write } }, onLeft))()
  done
    .then(
      () => sink.close(),
      (error) => sink.abort(error),
    )
    .catch(() => {})
  return new Response(readable, { headers: eventStream })
}

/** `POST` produces, `GET` rejoins, `DELETE` stops. */
export async function startResumable(
  mount: ResumeMount,
  store: StoresUnderTest['producer'],
  produce: Produce,
  options: Partial<ResumeOptions> = {},
  streamOptions: StreamOptions = {},
): Promise<ResumableServer> {
  const resume = createResume<never>({ store, owner: mount.owner, ...options })
  const ends: StreamEnd[] = []
  const onEnd = (end: StreamEnd) => {
    ends.push(end)
    return true
  }
  const rejoin = mount.listener(resume.rejoin({ onEnd }))
  const stop = mount.listener(resume.stop())
  const post = mount.producer(produce, { ...streamOptions, resume, onEnd })
  const server = createServer((request, response) => {
    const serve = { GET: rejoin, DELETE: stop }[request.method ?? ''] ?? post
    serve(request, response)
  })
  return { ...(await listenOn(server)), server, resume, ends }
}

/** The events of a chat of so many, its terminal event included. */
export function chatEvents(count: number): string[] {
  const pieces = Array.from({ length: count - 2 }, (_, at) => chatChunk(`${at + 1} `))
  return [...pieces, chatChunk('', 'stop'), '[DONE]'].map((each) =>
    typeof each === 'string' ? each : JSON.stringify(each),
  )
}

/** The data of each event that a body has, whole ones only. */
export function eventsIn(body: string): string[] {
  const blocks = body.split('\n\n')
  blocks.pop()
  return blocks
    .map((block) => block.split('\n').filter((line) => line.startsWith('data: ')))
    .filter((lines) => lines.length > 0)
    .map((lines) => lines.map((line) => line.slice('data: '.length)).join('\n'))
}

export const user = { 'x-user': 'ada' }

/** Begins a stream, and reads so many events of it before it leaves. */
export async function readSome(
  url: string,
  init: RequestInit,
  until: number,
): Promise<{ response: Response; events: string[]; body: string; leave(): void }> {
  const controller = new AbortController()
  const response = await fetch(url, { ...init, signal: controller.signal })
  const decoder = new TextDecoder()
  let body = ''
  if (response.body && until > 0) {
    for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
      body += decoder.decode(chunk, { stream: true })
      if (eventsIn(body).length >= until) break
    }
  }
  const events = eventsIn(body)
  return { response, events, body, leave: () => controller.abort() }
}
