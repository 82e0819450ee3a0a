import type { UpstreamError } from '../errors/upstream-error.js'
import type { Framing } from '../framing/framing.js'
import { looksLikeEvents } from './body-start.js'
import { JsonReport } from './json-report.js'

/** A body that cannot be looked into: compressed, or of another kind than its head says. Nothing is put into it. */
export class OpaqueBody {
  #json: JsonReport | undefined

  /** @returns whether the first bytes of a body are anything but events */
  begins(bytes: Buffer, framing: Framing): boolean {
    if (looksLikeEvents(bytes, framing)) return false
    this.#json = new JsonReport()
    return true
  }

  push(bytes: Buffer): void {
    this.#json?.push(bytes)
  }

  /** The error that an upstream reports in a JSON document that came instead, once all of it has come. */
  get error(): UpstreamError | undefined {
    return this.#json?.error
  }
}
