import type { UpstreamError } from '../errors/upstream-error.js'
import type { Framing } from '../framing/framing.js'
import { looksLikeEvents } from './body-start.js'
import { JsonReport } from './held-json.js'

/** A body that nobody can look into: compressed, or of another kind than its head says. Nothing is put into it. */
export class OpaqueBody {
  #json: JsonReport | undefined

  /** @returns whether the first bytes of a body are no events */
  begins(bytes: Buffer, framing: Framing): boolean {
    if (looksLikeEvents(bytes, framing)) return false
    this.#json = new JsonReport()
    return true
  }

  /** @returns what an upstream reports in a JSON document that came instead */
  push(bytes: Buffer): UpstreamError | undefined {
    return this.#json?.push(bytes) || undefined
  }
}
