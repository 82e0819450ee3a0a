/** Takes the head and the framing of a chunked body off: a boundary may fall into anything. */
export class HttpChunks {
  complete = false
  fault
  #head = Buffer.alloc(0)
  #left = 0
  #line = ''

  /** @returns the bytes of the body among `bytes`, which it overwrites */
  take(bytes) {
    if (this.#head === undefined) return this.#unframe(bytes)
    this.#head = Buffer.concat([this.#head, bytes])
    const end = this.#head.indexOf('\r\n\r\n')
    if (end === -1) return this.#head.subarray(0, 0)
    const status = this.#head.toString('latin1', 0, this.#head.indexOf('\r\n'))
    if (!/^HTTP\/1\.1 200 /.test(status)) this.fault = status
    const rest = this.#head.subarray(end + 4)
    this.#head = undefined
    return this.#unframe(rest)
  }

  #unframe(bytes) {
    let at = 0
    let length = 0
    while (at < bytes.length) {
      if (this.#left > 0) {
        const end = Math.min(at + this.#left, bytes.length)
        bytes.copyWithin(length, at, end)
        length += end - at
        this.#left -= end - at
        at = end
        continue
      }
      const character = String.fromCharCode(bytes[at++])
      if (character !== '\n') this.#line += character
      else {
        // An empty line is the end of the chunk before.
        const line = this.#line.trim()
        this.#line = ''
        if (line !== '') this.#left = Number.parseInt(line, 16)
        if (line !== '' && this.#left === 0) this.complete = true
      }
    }
    return bytes.subarray(0, length)
  }
}
