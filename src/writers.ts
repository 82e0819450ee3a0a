import type { SSEEvent } from './sse-encode.js'

/** What the rest of the library may know of the writer of a response. */
interface ResponseOwner {
  readonly committed: boolean
  readonly events: number
  close(...last: SSEEvent[]): void
}

const registryKey = Symbol.for('unhang.writers')
type Registry = WeakMap<object, ResponseOwner>

/** The writer of each response; one registry per process, also with several copies of unhang in it. */
export function writers(): Registry {
  const holder = globalThis as { [registryKey]?: Registry }
  holder[registryKey] ??= new WeakMap()
  return holder[registryKey]
}
