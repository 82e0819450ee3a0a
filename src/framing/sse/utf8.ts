import { isAscii } from 'node:buffer'
import { StringDecoder } from 'node:string_decoder'

/** In bytes. Of fewer the answer costs more than it saves. */
const worthAsking = 512

/** Decodes UTF-8 that comes in pieces, cut anywhere. */
export class Utf8Decoder {
  /** Most streams in English need none. */
  #decoder: StringDecoder | undefined
  /** Whether the last piece may have ended within a character. */
  #mayBeCut = false

  decode(bytes: Buffer): string {
    const last = bytes[bytes.length - 1]
    if (last === undefined) return ''
    const endsInAscii = last <= 0x7f
    if (!this.#mayBeCut && endsInAscii) {
      // A character for each byte: there is nothing to decode.
      return bytes.length >= worthAsking && isAscii(bytes) ? bytes.toString('latin1') : bytes.toString()
    }
    this.#decoder ??= new StringDecoder()
    this.#mayBeCut = !endsInAscii
    return this.#decoder.write(bytes)
  }

  /** @returns what stands for a character that was never completed */
  end(): string {
    return this.#decoder?.end() ?? ''
  }
}

const highSurrogateAtEnd = /[\ud800-\udbff]$/

/** Texts that may be cut between the two halves of a character: bytes cannot be made of one half. */
export class WholeCharacters {
  #half = ''

  /** @returns the text, without the half of a character at its end, which comes with the next one */
  whole(text: string): string {
    const all = this.#half + text
    this.#half = highSurrogateAtEnd.exec(all)?.[0] ?? ''
    return this.#half === '' ? all : all.slice(0, -1)
  }
}
