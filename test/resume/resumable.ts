import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { handleStream, type StreamContext, type StreamEnd, type StreamOptions } from '../../src/index.js'
import { createResume, type Resume, type ResumeOptions } from '../../src/resume/index.js'
import { chatChunk } from '../support/chat.js'
import { listenOn, type TestServer } from '../support/proxy.js'
import type { StoresUnderTest } from './store-contract.js'

export type Produce = (stream: StreamContext, request: IncomingMessage, response: ServerResponse) => unknown

/** A process that produces streams and lets clients rejoin them. */
export interface ResumableServer extends TestServer {
  readonly server: Server
  readonly resume: Resume
  /** The records of all its streams, also of those that were rejoined. */
  readonly ends: StreamEnd[]
}

const ownerOf = ({ headers }: IncomingMessage) => headers['x-user']?.toString()

/** `POST` produces, `GET` rejoins, `DELETE` stops. */
export async function startResumable(
  store: StoresUnderTest['producer'],
  produce: Produce,
  options: Partial<ResumeOptions> = {},
  streamOptions: StreamOptions = {},
): Promise<ResumableServer> {
  const resume = createResume({ store, owner: ownerOf, ...options })
  const ends: StreamEnd[] = []
  const onEnd = (end: StreamEnd) => {
    ends.push(end)
    return true
  }
  const rejoin = resume.rejoin({ onEnd })
  const stop = resume.stop()
  const server = createServer((request, response) => {
    if (request.method === 'GET') return void rejoin(request, response)
    if (request.method === 'DELETE') return void stop(request, response)
    const handler = (stream: StreamContext) => produce(stream, request, response)
    return void handleStream(response, handler, { ...streamOptions, resume, onEnd })
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
