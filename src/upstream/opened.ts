import { channels, log } from '../diagnostics/channels.js'
import { describeError } from '../diagnostics/describe-error.js'
import type { StreamError } from '../errors/stream-error.js'
import { releaseUpstream, type SocketCleanupOptions } from './cleanup.js'

/** The upstreams that one stream has opened: released together, once; a later one is released at once. */
export class Upstreams {
  readonly #options: SocketCleanupOptions | false
  readonly #requestId: string
  #opened: unknown[] = []
  #cleanups: Promise<void>[] = []
  #release: SocketCleanupOptions | undefined

  constructor(options: SocketCleanupOptions | false | undefined, requestId: string) {
    this.#options = options ?? {}
    this.#requestId = requestId
  }

  adopt(upstream: unknown): void {
    // Its reader will find out.
    if (typeof upstream !== 'object' || upstream === null) return
    // Not by push(): see StopSignal.
    if (this.#release) this.#cleanUp(upstream, this.#release)
    else if (!this.#opened.includes(upstream)) this.#opened = this.#opened.concat([upstream])
  }

  /**
   * @param reason why they are destroyed; none: they have ended, or may do so within `lingerMs`. An upstream
   *   that responded with an error may end by itself as well: its connection is sound.
   */
  release(reason?: StreamError): void {
    if (this.#options === false || this.#release) return
    const { closeMs, lingerMs = 1_000 } = this.#options
    const sound = reason === undefined || reason.outcome === 'upstream_error'
    this.#release = { reason, closeMs, ...(sound ? { lingerMs } : {}) }
    for (const upstream of this.#opened) this.#cleanUp(upstream, this.#release)
    this.#opened = []
  }

  /** When all of them are gone. */
  get released(): Promise<unknown> {
    return Promise.all(this.#cleanups)
  }

  #cleanUp(upstream: unknown, options: SocketCleanupOptions): void {
    const requestId = this.#requestId
    const cleanup = releaseUpstream(upstream, options).then((report) => {
      const { via, closed, forced, durationMs } = report
      const why = options.reason?.message ?? 'the stream is complete'
      const spent = Math.round(durationMs)
      log.cleanup('%s: %s, closed %s, forced %s, %d ms: %s', requestId, via, closed, forced, spent, why)
      channels.cleanup.publish({ requestId, report })
    })
    this.#cleanups.push(
      cleanup.catch((error) => {
        log.cleanup('%s: an upstream could not be released: %s', requestId, () => describeError(error))
      }),
    )
  }
}
