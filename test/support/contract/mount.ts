import type { IncomingMessage, ServerResponse } from 'node:http'
import type { DrainReport, StreamEnd, StreamOptions } from '../../../src/index.js'
import type { Seen } from './seen.js'

/** A client of the protocol that a mount serves. */
export interface ContractClient {
  /** Waits until the body so far contains the text. */
  received(text: string): Promise<void>
  /** Waits for the end. */
  finished(): Promise<Seen>
  /** Leaves. */
  leave(): void
}

/** How a test serves a handler: as a route of some framework, guarded or written the unhang way. */
export interface Mount {
  name: string
  /** The writer of the response: a stream of unhang's, or a handler that knows nothing of it. */
  kind: 'route' | 'guard'
  /**
   * What unhang lets go: the upstream, nothing where a handler's own loop does so, or each step of a pipeline that is
   * still at work.
   */
  releases: 'the upstream' | 'nothing' | 'each step'
  /** Whether its handlers return responses of Fetch: then there is no response of Node that an app could hook into. */
  isFetch?: true
  /** Whether it sees a stream only once its response has come: what is before that is the affair of its server. */
  isLate?: true
  /** Whether it looks by itself which requests want a stream. */
  detects: boolean
  /** Serves an app that relays `upstreamUrl`, on a free port of 127.0.0.1. */
  serve(upstreamUrl: string, settings: MountSettings): Promise<MountedServer>
}

export interface MountSettings {
  onEnd(end: StreamEnd): unknown
  /** As an app gives them. */
  options?: Omit<StreamOptions, 'onEnd'>
  /** For mounts that have the option. */
  /** Not to look: a route takes every request, a guard waits for the response. */
  detect?: false
  /** The app's hooks in each response before unhang sees it. */
  hookOutside?(response: ServerResponse): void
  /** The handler's hooks in its response. */
  hookInside?(response: ServerResponse): void
}

export interface MountedServer extends AsyncDisposable {
  /** Asks for a chat, streaming or not. */
  ask(body: ChatRequest, headers?: Record<string, string>): Promise<ContractClient>
  /** Shuts the server down, with little patience. */
  drain(): Promise<DrainReport>
}

export interface ChatRequest {
  stream?: boolean
  /** The path that the upstream is asked for, without its slash. */
  upstreamPath?: string
  /** Whether a route reads each event, and writes it again. Default: it passes the bytes on. */
  mapped?: boolean
}

export type Listener = (request: IncomingMessage, response: ServerResponse) => unknown

/** The handler of a mount may also fail by itself: this event makes it. */
export const bugTrigger = 'make the handler fail'

/** Every mount's JSON answer. */
export const jsonAnswer = '{"object":"chat.completion"}'
