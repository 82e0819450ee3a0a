// State that several copies of unhang in one process share: a protocol between their versions, so members only ever join.
import type { StreamError } from './errors/stream-error.js'
import type { SSEEvent } from './framing/sse/encode.js'

/**
 * One value per process and name, also with several copies of unhang in it; made when it is first asked for.
 *
 * @__NO_SIDE_EFFECTS__
 */
export function processWide<Value extends object>(name: string, create: () => Value): () => Value {
  const key = Symbol.for(`unhang.${name}`)
  const holder = globalThis as { [key: symbol]: unknown }
  let value: Value | undefined
  return () => {
    if (!value) {
      holder[key] ??= create()
      value = holder[key] as Value
    }
    return value
  }
}

/** The writer of a response, as the rest of the library knows it. */
interface ResponseOwner {
  readonly headersSent: boolean
  readonly events: number
  close(...last: SSEEvent[]): void
}

/** The writer of each response, one registry per process. */
export const writers = processWide('writers', () => new WeakMap<object, ResponseOwner>())

/** The guard of a response, as the rest of the library, and another copy of it in this process, know it. */
export interface Guarded {
  readonly requestId: string
  readonly signal: AbortSignal
  /** Whether the request has a response, or has been left, before its handler ran. */
  readonly refused: boolean
  /** Its options, which are the defaults of routes and guards inside it; `undefined` once the response is over. */
  readonly options: object | undefined
  /** A guard inside it: its settings count more. */
  refine(options: object): void
  /** Tells where the framework keeps the parsed body, and headers of the app that it has not set on the response yet. */
  readBodyFrom(parsed: () => unknown, prepared?: () => object): void
  /** A stream written the unhang way takes the response over. */
  stepAside(): void
  /** A stream of unhang takes its place. @returns to be called with the reason for which that one ends */
  handOver?(): (reason: StreamError | undefined) => void
  /** Runs the work for the request, so that its upstream calls are known. */
  enter<Result>(work: () => Result): Result
  /**
   * The framework has an error without a response.
   *
   * @returns whether it has a response now
   */
  respond(error: unknown): boolean
  /** The listener itself failed: no other code can respond. */
  respondAtLast(error: unknown): void
}

/** One registry per process; requests and responses are its keys. */
export const guards = processWide('guards', () => new WeakMap<object, Guarded>())
