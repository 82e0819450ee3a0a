import { isAscii } from 'node:buffer'
import { StringDecoder } from 'node:string_decoder'

/** Decodes UTF-8 that comes in pieces, cut anywhere. */
export class Utf8Decoder {
  /** Most streams in English need none. */
  #decoder: StringDecoder | undefined
  /** Whether the last piece may have ended within a character. */
  #mayBeCut = false

  decode(bytes: Buffer): string {
    const last = bytes.at(-1)
    if (last === undefined) return ''
    // A character for each byte: there is nothing to decode.
    if (!this.#mayBeCut && isAscii(bytes)) return bytes.toString('latin1')
    this.#decoder ??= new StringDecoder()
    this.#mayBeCut = last > 0x7f
    return this.#decoder.write(bytes)
  }

  /** @returns what stands for a character that was never completed */
  end(): string {
    return this.#decoder?.end() ?? ''
  }
}
