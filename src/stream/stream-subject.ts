import type { StreamDialect } from '../dialects/dialect.js'
import type { StreamFacts } from '../dialects/transcript.js'
import type { StreamError } from '../errors/stream-error.js'

/** The stream as it is known now. Some of it is known late, so each member is read when it is needed. */
export interface StreamSubject extends StreamFacts {
  readonly requestId: string
  readonly model: string | undefined
  readonly server: object | undefined
  /** How the client's stream ends, as far as nothing was set. */
  readonly dialect: StreamDialect
}

/** The upstreams that a stream holds. */
export interface HeldUpstreams {
  /** Releases them; see `Upstreams.release`. */
  release(reason?: StreamError): void
  /** How many of them go on. */
  leftRunning?(): number
}
