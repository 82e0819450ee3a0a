import type { IncomingMessage } from 'node:http'
import { detectStreamingRequest, type StreamingHints } from './detect-streaming-request.js'
import type { StreamOptions } from './stream-options.js'
import { type ResolvedTimeouts, resolveTimeouts } from './timeout-options.js'
import { selectTimeoutProfile, timeoutProfiles } from './timeout-profiles.js'

export interface GuardOptions extends StreamOptions {
  /** What counts as a streaming request while the body is unread; `false`: only what is answered with one. */
  detect?: StreamingHints | false | undefined
}

/** What a request asks for, as far as it is known by now: its body may be parsed later, or never. */
export class RequestedStream {
  readonly #request: IncomingMessage & { body?: unknown }
  readonly #options: GuardOptions

  constructor(request: IncomingMessage, options: GuardOptions) {
    this.#request = request
    this.#options = options
  }

  get isWanted(): boolean {
    const { detect } = this.#options
    return detect !== false && detectStreamingRequest(this.#request, detect)
  }

  get model(): string | undefined {
    return modelOf(this.#request.body)
  }

  /** The timeouts that fit it. */
  get timeouts(): ResolvedTimeouts {
    return resolveTimeouts(this.#options.timeouts, this.profile)
  }

  get profile(): ResolvedTimeouts {
    const { advancedModels } = this.#options
    // Of an unread body nobody knows the model: it may be one that thinks long.
    if (this.#request.body === undefined) return timeoutProfiles.advanced
    const { model } = this
    return selectTimeoutProfile({ streaming: true, model }, advancedModels ? { advancedModels } : {})
  }
}

/** The model a parsed body names. */
export function modelOf(body: unknown): string | undefined {
  if (typeof body !== 'object' || body === null) return undefined
  const { model } = body as { model?: unknown }
  return typeof model === 'string' ? model : undefined
}
