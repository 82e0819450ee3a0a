import { processWide } from './process-wide.js'

/** What the rest of the library may know of the guard around a response. */
export interface Guarded {
  /** A stream written the unhang way takes the response over. */
  stepAside(): void
}

/** One registry per process; requests and responses are its keys. */
export const guards = () => processWide('guards', () => new WeakMap<object, Guarded>())
