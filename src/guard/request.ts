import type { IncomingMessage, ServerResponse } from 'node:http'
import { detectStreamingRequest, type StreamingHints } from '../client/detect-streaming-request.js'
import { requestPath } from '../client/error-response.js'
import { modelOf, withinClientTimeout } from '../client/request-hints.js'
import { givenRequestId, requestIdOf } from '../client/request-id.js'
import { serverOf } from '../client/response.js'
import type { StreamDialect } from '../dialects/dialect.js'
import { dialectOfHead, selectDialect } from '../dialects/index.js'
import type { StreamSubject } from '../stream/exchange.js'
import { checkDetection } from '../stream/middleware-options.js'
import {
  readStreamOptions,
  type StreamOptions,
  type StreamSettings,
  timeoutsFor,
} from '../stream/settings.js'
import { type ResolvedTimeouts, resolveTimeouts } from '../timeouts/options.js'
import { timeoutProfiles } from '../timeouts/profiles.js'

export interface GuardOptions extends StreamOptions {
  /** What counts as a streaming request while the body is unread; `false`: only what is answered with one. */
  detect?: StreamingHints | false | undefined
}

/** The options of a guard, read once. */
export interface GuardSettings extends StreamSettings {
  readonly detect: StreamingHints | false | undefined
  /** Whether nothing was set. */
  readonly areDefaults: boolean
}

/** @throws TypeError | RangeError that names the option and the value */
export function readGuardOptions(options: GuardOptions): GuardSettings {
  const settings = readStreamOptions(options, ['detect'])
  checkDetection(options.detect)
  return { ...settings, detect: options.detect, areDefaults: Object.keys(options).length === 0 }
}

/** What a request asks for, as far as it is known by now: its body may be parsed later, or never. */
export class RequestedStream implements StreamSubject {
  #requestId: string | undefined
  #parsedBody: (() => unknown) | undefined
  readonly #request: IncomingMessage & { body?: unknown }
  readonly #response: ServerResponse
  readonly #settings: GuardSettings

  constructor(request: IncomingMessage, response: ServerResponse, settings: GuardSettings) {
    this.#request = request
    this.#response = response
    this.#settings = settings
  }

  get requestId(): string {
    this.#requestId ??= requestIdOf(this.#response)
    return this.#requestId
  }

  /** The id, if it has one already: most requests are never asked for it. */
  get knownRequestId(): string | undefined {
    return this.#requestId ?? givenRequestId(this.#request)
  }

  get server(): object | undefined {
    return serverOf(this.#response)
  }

  get dialect(): StreamDialect {
    return dialectOfHead(this.#response) ?? selectDialect(undefined, requestPath(this.#response))
  }

  /** Tells where the framework keeps the parsed body; `request.body`, unless it says otherwise. */
  readBodyFrom(parsed: () => unknown): void {
    this.#parsedBody = parsed
  }

  get #body(): unknown {
    return this.#parsedBody ? this.#parsedBody() : this.#request.body
  }

  get isWanted(): boolean {
    const { detect } = this.#settings
    if (detect === false) return false
    const { method, url, headers } = this.#request
    return detectStreamingRequest({ method, url, headers, body: this.#body }, detect)
  }

  get model(): string | undefined {
    return modelOf(this.#body)
  }

  /** The timeouts that fit it. Of an unread body nobody knows the model: it may be one that thinks long. */
  get timeouts(): ResolvedTimeouts {
    const { headers } = this.#request
    if (this.#body !== undefined) return timeoutsFor(this.#settings, { model: this.model, headers })
    return withinClientTimeout(resolveTimeouts(this.#settings.timeouts, timeoutProfiles.advanced), headers)
  }

  /** Once its answer has begun as a stream of an unknown kind, a page that subscribed may wait for days. */
  get subscriptionTimeouts(): ResolvedTimeouts | undefined {
    const { timeouts, dialect } = this.#settings
    const isUnknown = dialect === undefined && this.dialect.name === 'plain'
    if (!isUnknown || this.#request.method !== 'GET' || timeouts !== undefined) return undefined
    return { ...resolveTimeouts(false, timeoutProfiles.streaming), drainMs: this.timeouts.drainMs }
  }
}
