import type { IncomingMessage } from 'node:http'
import { detectStreamingRequest, type StreamingHints } from '../client/detect-streaming-request.js'
import { modelOf, withinClientTimeout } from '../client/request-hints.js'
import type { StreamOptions } from '../stream/settings.js'
import { type ResolvedTimeouts, resolveTimeouts } from '../timeouts/options.js'
import { selectTimeoutProfile, timeoutProfiles } from '../timeouts/profiles.js'

export interface GuardOptions extends StreamOptions {
  /** What counts as a streaming request while the body is unread; `false`: only what is answered with one. */
  detect?: StreamingHints | false | undefined
}

/** What a request asks for, as far as it is known by now: its body may be parsed later, or never. */
export class RequestedStream {
  #parsedBody: (() => unknown) | undefined
  readonly #request: IncomingMessage & { body?: unknown }
  readonly #options: GuardOptions

  constructor(request: IncomingMessage, options: GuardOptions) {
    this.#request = request
    this.#options = options
  }

  /** Tells where the framework keeps the parsed body; `request.body`, unless it says otherwise. */
  readBodyFrom(parsed: () => unknown): void {
    this.#parsedBody = parsed
  }

  get #body(): unknown {
    return this.#parsedBody ? this.#parsedBody() : this.#request.body
  }

  get isWanted(): boolean {
    const { detect } = this.#options
    if (detect === false) return false
    const { method, url, headers } = this.#request
    return detectStreamingRequest({ method, url, headers, body: this.#body }, detect)
  }

  get model(): string | undefined {
    return modelOf(this.#body)
  }

  /** The timeouts that fit it. */
  get timeouts(): ResolvedTimeouts {
    return withinClientTimeout(resolveTimeouts(this.#options.timeouts, this.#profile), this.#request.headers)
  }

  /** Once its answer has begun as a stream of an unknown kind, a page that subscribed may wait for days. */
  get subscriptionTimeouts(): ResolvedTimeouts | undefined {
    if (this.#request.method !== 'GET' || this.#options.timeouts !== undefined) return undefined
    return { ...resolveTimeouts(false, this.#profile), drainMs: this.#profile.drainMs }
  }

  get #profile(): ResolvedTimeouts {
    const { advancedModels } = this.#options
    // Of an unread body nobody knows the model: it may be one that thinks long.
    if (this.#body === undefined) return timeoutProfiles.advanced
    const { model } = this
    return selectTimeoutProfile({ streaming: true, model }, advancedModels ? { advancedModels } : {})
  }
}
