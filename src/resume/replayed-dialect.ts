import type {
  DialectRequest,
  DialectState,
  EventRole,
  FailingOptions,
  SkippedEvents,
  StreamDialect,
} from '../dialects/dialect.js'
import { dialects, recognizeDialect } from '../dialects/index.js'
import type { StreamError } from '../errors/stream-error.js'
import type { SSEEvent } from '../framing/sse/encode.js'

/**
 * The dialect of a recorded stream for its readers: all of its own events are in the recording, and its end says whether it
 * is complete.
 *
 * @param idOf the id of the event that reports a failure, if it is to have one
 */
export function replayed(
  { dialect, isGuess }: RecordedDialect,
  idOf: (reason: StreamError) => string | undefined,
): StreamDialect {
  return Object.assign(Object.create(dialect) as StreamDialect, {
    needsTerminal: false,
    follow: (request: Parameters<StreamDialect['follow']>[0]) =>
      new Replayed(dialect, { isGuess, request, idOf }),
  })
}

/** A dialect, and whether the events may yet show another one. */
export interface RecordedDialect {
  readonly dialect: StreamDialect
  readonly isGuess: boolean
}

/** The dialect of this name that comes with unhang; `plain` for one of the app's own. */
export function dialectNamed(recorded: string): RecordedDialect {
  const isGuess = recorded.endsWith('?')
  const name = isGuess ? recorded.slice(0, -1) : recorded
  const known = Object.values<StreamDialect>(dialects).find((dialect) => dialect.name === name)
  return { dialect: known ?? dialects.plain, isGuess }
}

interface ReplayOptions {
  readonly isGuess: boolean
  readonly request: DialectRequest | undefined
  readonly idOf: (reason: StreamError) => string | undefined
}

class Replayed implements DialectState {
  #state: DialectState
  #guess: StreamDialect | undefined
  readonly #options: ReplayOptions

  constructor(dialect: StreamDialect, options: ReplayOptions) {
    this.#state = dialect.follow(options.request)
    this.#guess = options.isGuess ? dialect : undefined
    this.#options = options
  }

  get complete(): boolean {
    return this.#state.complete
  }

  get cutShort(): boolean {
    return this.#state.cutShort === true
  }

  observe(event: SSEEvent): EventRole {
    const known = this.#guess && recognizeDialect(event, this.#guess, this.#guess.framing)
    if (known && known !== this.#guess) this.#state = known.follow(this.#options.request)
    if (known) this.#guess = undefined
    return this.#state.observe(event)
  }

  closing(): SSEEvent[] {
    return []
  }

  failing(error: StreamError, message: string, options?: FailingOptions): SSEEvent[] | undefined {
    const id = this.#options.idOf(error)
    const events = this.#state.failing(error, message, options)
    return events?.map((event, at) => (id !== undefined && at === 0 ? { ...event, id } : event))
  }

  skips(): SkippedEvents | undefined {
    return this.#guess ? undefined : this.#state.skips?.()
  }
}
