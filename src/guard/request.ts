import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http'
import { detectStreamingRequest, type StreamingHints } from '../client/detect-streaming-request.js'
import { requestPath } from '../client/error-response.js'
import { modelOf } from '../client/request-hints.js'
import { givenRequestId, requestIdOf } from '../client/request-id.js'
import { serverOf } from '../client/response.js'
import type { DialectRequest, StreamDialect } from '../dialects/dialect.js'
import { dialectOfHead, selectDialect } from '../dialects/index.js'
import type { Transcript } from '../dialects/transcript.js'
import { checkFunction, checkObject } from '../errors/bad-input.js'
import type { Framing } from '../framing/framing.js'
import { framingOf, framings } from '../framing/framings.js'
import { withDefaults } from '../stream/inherited-settings.js'
import { checkDetection, checkWhen } from '../stream/middleware-options.js'
import { type TimedRequest, timeoutsOfRequest, timeoutsOfStream } from '../stream/request-timeouts.js'
import { readStreamOptions, type StreamOptions, type StreamSettings } from '../stream/settings.js'
import type { StreamSubject } from '../stream/stream-subject.js'
import type { ResolvedTimeouts } from '../timeouts/options.js'
import { type AdoptOption, type AdoptOptions, checkAdopt, refineAdopt } from './adopt-options.js'

/**
 * The options of `guardStreams` and {@link wrapApp}.
 *
 * @example
 * app.use(guardStreams({ timeouts: 'advanced', writer: { heartbeatMs: 10_000 }, exposeUpstreamErrors: true }))
 */
export interface GuardOptions extends Omit<StreamOptions, 'writer' | 'timeouts'> {
  /**
   * The deadlines, a profile by its name, `false` for none, or a function that picks them by the request.
   *
   * @defaultValue the `streaming` profile, or `advanced` for {@link StreamOptions.advancedModels}
   */
  timeouts?: StreamOptions['timeouts'] | ((request: IncomingMessage) => StreamOptions['timeouts']) | undefined
  /** Leaves a request alone for which it returns `true`: its response is not guarded. Not set: every response is. */
  skip?: ((request: IncomingMessage) => boolean) | undefined
  /**
   * How the guard treats the upstream calls that a handler makes. `false`: it does not look at them.
   *
   * @defaultValue the defaults of {@link AdoptOptions}
   */
  adopt?: false | AdoptOptions | ((request: IncomingMessage) => false | AdoptOptions) | undefined
  /**
   * How the response is completed. Your handler sends the headers, so there is no `headersAfterMs`.
   *
   * @defaultValue the defaults of {@link SSEWriterOptions}
   */
  writer?: Omit<NonNullable<StreamOptions['writer']>, 'headersAfterMs'> | undefined
  /**
   * When a response is guarded. `'requested'`: from a request on that asks for a stream. `'responds'`: once the
   * response begins as an event stream.
   *
   * @defaultValue `'requested'`
   */
  when?: 'requested' | 'responds' | undefined
  /**
   * How to recognise a streaming request whose body has not been parsed.
   *
   * @defaultValue chat completions by path, SillyTavern by user agent
   */
  detect?: StreamingHints | undefined
}

/** The options of a guard, read once. */
export interface GuardSettings extends StreamSettings {
  readonly given: GuardOptions & StreamOptions
  readonly when: 'requested' | 'responds'
  readonly detect: StreamingHints | undefined
  readonly skip: ((request: IncomingMessage) => boolean) | undefined
  /** Picks the timeouts, if a function of the app does. */
  readonly pickTimeouts: ((request: IncomingMessage) => StreamOptions['timeouts']) | undefined
  readonly adopt: AdoptOption | undefined
  /** Whether nothing was set. */
  readonly areDefaults: boolean
}

/** @throws TypeError | RangeError that names the option and the value */
export function readGuardOptions(options: GuardOptions = {}): GuardSettings {
  checkObject('options', options)
  const { writer, when, detect, skip, timeouts, adopt, ...rest } = options
  for (const name of ['headersAfterMs', 'commitAfterMs']) {
    if ((Object(writer) as Record<string, unknown>)[name] === undefined) continue
    throw new TypeError(`writer.${name} has no effect in the guard: your handler sends the headers`)
  }
  const pickTimeouts = typeof timeouts === 'function' ? timeouts : undefined
  const given = { ...rest, writer, ...(typeof timeouts !== 'function' && { timeouts }) }
  const settings = readStreamOptions(given, ['when', 'detect', 'skip', 'adopt'])
  checkAdopt(adopt)
  checkFunction('skip', skip)
  checkDetection(detect, "when: 'responds'")
  return {
    ...settings,
    given: { ...options, timeouts: given.timeouts },
    when: checkWhen(when, ['requested', 'responds']),
    detect,
    skip,
    pickTimeouts,
    adopt,
    areDefaults: Object.keys(options).length === 0,
  }
}

/** Whether a request may be one for a stream; before its body has been parsed a `POST` may be. */
export function mayAskForStream({ method, headers }: IncomingMessage): boolean {
  return method === 'POST' || /event-stream|ndjson/i.test(headers.accept ?? '')
}

const innerSettings = new WeakMap<GuardOptions, GuardSettings>()

/**
 * A guard inside another one goes first.
 *
 * @param inner options that have been checked, where they were given
 */
export function refineSettings(outer: GuardSettings, inner: GuardOptions): GuardSettings {
  const own = innerSettings.get(inner) ?? readGuardOptions(inner)
  innerSettings.set(inner, own)
  const { when = outer.when, detect = outer.detect } = inner
  const adopt = refineAdopt(outer.adopt, inner.adopt)
  return { ...withDefaults(own, outer.given), when, detect, adopt }
}

/**
 * @param more what a framework hands to a middleware beside the first argument
 * @throws TypeError if the function was mounted without being called
 */
export function checkCalled(more: readonly unknown[]): void {
  if (more.length > 0) throw new TypeError('write app.use(guardStreams()), with the parentheses')
}

/** The kind of response that a request asks for, as far as it is known by now: its body may be parsed later, or never. */
export class RequestedStream implements StreamSubject, DialectRequest, TimedRequest {
  #requestId: string | undefined
  #parsedBody: (() => unknown) | undefined
  /** Headers of the app that its framework sets when it sends the response itself. */
  prepared: (() => object) | undefined
  readonly #request: IncomingMessage & { body?: unknown }
  readonly #response: ServerResponse
  settings: GuardSettings

  constructor(request: IncomingMessage, response: ServerResponse, settings: GuardSettings) {
    this.#request = request
    this.#response = response
    this.settings = settings
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
    return dialectOfHead(this.#response) ?? selectDialect(undefined, requestPath(this.#response), this)
  }

  /** Tells where the framework keeps the parsed body, if not at `request.body`. */
  readBodyFrom(parsed: () => unknown, prepared?: () => object): void {
    this.#parsedBody = parsed
    this.prepared ??= prepared
  }

  get request(): DialectRequest {
    return this
  }

  get method(): string | undefined {
    return this.#request.method
  }

  get headers(): IncomingHttpHeaders {
    return this.#request.headers
  }

  get framing(): Framing {
    return framingOf(this.#response.getHeader('content-type')) ?? framings.sse
  }

  get body(): unknown {
    return this.#parsedBody?.() ?? this.#request.body
  }

  get isWanted(): boolean {
    return this.settings.when === 'requested' && this.#asks
  }

  get #asks(): boolean {
    const { method, url, headers } = this.#request
    return detectStreamingRequest({ method, url, headers, body: this.body }, this.settings.detect)
  }

  /** Whether it may be one for a model's answer: those are asked for by `POST`. */
  get mayHaveAsked(): boolean {
    const isCall = this.method === 'POST' && (this.body === undefined || this.#asks)
    return isCall || dialectOfHead(this.#response) !== undefined
  }

  get model(): string | undefined {
    return modelOf(this.body)
  }

  /** The timeouts that fit it. */
  get timeouts(): ResolvedTimeouts {
    return timeoutsOfRequest(this.settings, this, this.settings.dialect ?? this.dialect)
  }

  /** The timeouts of its event stream. */
  timeoutsOf(transcript: Transcript): ResolvedTimeouts {
    return timeoutsOfStream(this.settings, this, transcript)
  }
}
