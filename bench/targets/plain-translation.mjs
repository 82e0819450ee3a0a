import { finish, prefix, suffix } from './minimal.mjs'

const plain = /^data: \{"output": ?("[^"\\]+")\}$/

/** The events of one stream, each byte a character and the text handed on as it was written. It loses one with an escape in it. */
export class PlainTranslation {
  events = 0
  isComplete = false
  #rest = ''

  take(bytes) {
    const lines = (this.#rest + bytes.toString('latin1')).split('\n')
    this.#rest = lines.pop()
    let out = ''
    for (const line of lines) {
      if (line === '') continue
      this.events++
      const written = plain.exec(line)?.[1]
      if (written) out += prefix + written + suffix
      else if (JSON.parse(line.slice(6)).output === null) {
        out += finish
        this.isComplete = true
      }
    }
    return out
  }
}
