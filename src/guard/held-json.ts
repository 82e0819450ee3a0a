import { isUpstreamError, type UpstreamError } from '../errors/upstream-error.js'
import { asBuffer } from '../framing/bytes.js'
import { JsonAnswer } from '../upstream/json-answer.js'
import type { WatchedResponse } from './handle.js'

/** An upstream needs less to say what went wrong. */
const maxErrorBytes = 64 * 1024

/** A JSON document under the name of an event stream: what an upstream reports in it. */
export class JsonReport {
  #json: JsonAnswer | undefined = new JsonAnswer(maxErrorBytes)

  /** @returns the error; `undefined` while the document is not whole, `false` if it says something else */
  push(bytes: Uint8Array): UpstreamError | false | undefined {
    if (!this.#json) return false
    try {
      this.#json.takes(bytes)
    } catch {
      // It is too long for a report.
      this.#json = undefined
      return false
    }
    try {
      this.#json.parse()
      return false
    } catch (error) {
      return isUpstreamError(error) ? error : undefined
    }
  }
}

/** What a handler has written of such a document while its head is unsent: an error gets a status instead. */
export class HeldJson {
  readonly #report = new JsonReport()
  readonly #chunks: Uint8Array[] = []
  readonly #guard: Pick<WatchedResponse, 'fail' | 'pass' | 'own'>

  constructor(guard: Pick<WatchedResponse, 'fail' | 'pass' | 'own'>) {
    this.#guard = guard
  }

  /** Decides as soon as the document is whole. What is no error goes out as it came, up to this chunk. */
  add(chunk: unknown, encoding: unknown, isLast: boolean): void {
    const bytes = asBuffer(chunk as string | Uint8Array, encoding)
    const error = this.#report.push(bytes)
    if (error) return this.#guard.fail(error)
    if (error === undefined && !isLast) return void this.#chunks.push(bytes)
    this.#guard.pass()
    for (const each of this.#chunks) this.#guard.own.write(each)
  }
}
