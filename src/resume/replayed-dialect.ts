import type {
  DialectState,
  EventRole,
  FailingOptions,
  SkippedEvents,
  StreamDialect,
} from '../dialects/dialect.js'
import { dialects } from '../dialects/index.js'
import type { StreamError } from '../errors/stream-error.js'
import type { SSEEvent } from '../framing/sse/encode.js'

/**
 * The dialect of a recorded stream for who reads it: all of its own events are in the recording, and its end says whether it
 * is complete.
 *
 * @param idOf the id of the event that reports a failure, if it is to have one
 */
export function replayed(
  dialect: StreamDialect,
  idOf: (reason: StreamError) => string | undefined,
): StreamDialect {
  return Object.assign(Object.create(dialect) as StreamDialect, {
    needsTerminal: false,
    follow: (request: Parameters<StreamDialect['follow']>[0]) => new Replayed(dialect.follow(request), idOf),
  })
}

/** The dialect of this name that comes with unhang; `plain` for one of the app's own. */
export function dialectNamed(name: string): StreamDialect {
  return Object.values<StreamDialect>(dialects).find((dialect) => dialect.name === name) ?? dialects.plain
}

class Replayed implements DialectState {
  readonly #state: DialectState
  readonly #idOf: (reason: StreamError) => string | undefined

  constructor(state: DialectState, idOf: (reason: StreamError) => string | undefined) {
    this.#state = state
    this.#idOf = idOf
  }

  get complete(): boolean {
    return this.#state.complete
  }

  get cutShort(): boolean {
    return this.#state.cutShort === true
  }

  observe(event: SSEEvent): EventRole {
    return this.#state.observe(event)
  }

  closing(): SSEEvent[] {
    return []
  }

  failing(error: StreamError, message: string, options?: FailingOptions): SSEEvent[] | undefined {
    const id = this.#idOf(error)
    const events = this.#state.failing(error, message, options)
    return events?.map((event, at) => (id !== undefined && at === 0 ? { ...event, id } : event))
  }

  skips(): SkippedEvents | undefined {
    return this.#state.skips?.()
  }
}
