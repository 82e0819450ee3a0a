import { isUpstreamError, type UpstreamError } from '../errors/upstream-error.js'
import { JsonAnswer } from '../upstream/json-answer.js'

/** An upstream needs less to say what went wrong. */
const maxErrorBytes = 64 * 1024

/** The error that an upstream reports in a JSON document under the type of an event stream. */
export class JsonReport {
  #json: JsonAnswer | undefined = new JsonAnswer(maxErrorBytes)

  push(bytes: Uint8Array): void {
    try {
      this.#json?.takes(bytes)
    } catch {
      // It is too long for a report.
      this.#json = undefined
    }
  }

  /** Read it once, when the document is whole. `undefined` for a document that says something else. */
  get error(): UpstreamError | undefined {
    try {
      this.#json?.parse()
      return undefined
    } catch (error) {
      return isUpstreamError(error) ? error : undefined
    }
  }
}

/** The error that these bytes are, if they are all of a document. */
export function reportIn(bytes: Uint8Array): UpstreamError | undefined {
  const report = new JsonReport()
  report.push(bytes)
  return report.error
}
