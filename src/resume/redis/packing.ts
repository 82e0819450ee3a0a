import { createCipheriv, createDecipheriv, createHmac, hkdfSync, randomBytes } from 'node:crypto'
import { deflateRawSync, inflateRawSync } from 'node:zlib'

/** `p` plain, `z` deflated, `y` deflated with the stream's dictionary. */
export type PackedForm = 'p' | 'z' | 'y'

export interface Packed {
  readonly form: PackedForm
  readonly bytes: Buffer
}

/** Less is not worth the call. */
const minDeflated = 64
/** As much of the beginning of a stream as helps with the rest of it. */
const dictionaryLength = 1_024
/** A window of 4 KiB: Node sets everything up for each call, which costs more than a small batch does. */
const deflating = { level: 1, windowBits: 12, memLevel: 5, chunkSize: 1_024 }
/** A length that real events never come near, and that a wrong reply of Redis must not exceed. */
const maxOutputLength = 64 * 1024 * 1024

/** Tells keys apart, and says nothing of them. */
export function nameOfKey(seal: Uint8Array): string {
  return createHmac('sha256', seal).update('unhang resume').digest('base64url').slice(0, 12)
}

/** Makes events small, and unreadable without the key if there is one. One for each recording. */
export class Packing {
  readonly #key: Buffer | undefined
  #dictionary: Buffer | undefined

  constructor(seal: Uint8Array | undefined, run: string) {
    // A key for each recording, so that random nonces cannot meet.
    this.#key = seal && Buffer.from(hkdfSync('sha256', seal, run, 'unhang resume', 32))
  }

  get hasDictionary(): boolean {
    return this.#dictionary !== undefined
  }

  /** Takes the first events as what the others resemble. @returns what readers need */
  chooseDictionary(text: string): Buffer {
    const bytes = Buffer.from(text)
    this.#dictionary = bytes.subarray(-dictionaryLength)
    return this.seal(this.#dictionary, 'dictionary')
  }

  takeDictionary(sealed: Buffer): void {
    this.#dictionary = this.open(sealed, 'dictionary')
  }

  /** @param place what tells this piece from the others of the stream */
  pack(text: string, place: string): Packed {
    const plain = Buffer.from(text)
    const dictionary = this.#dictionary
    let form: PackedForm = 'p'
    let bytes: Buffer = plain
    if (plain.length >= minDeflated) {
      const deflated = deflateRawSync(plain, { ...deflating, ...(dictionary && { dictionary }) })
      if (deflated.length < plain.length) {
        bytes = deflated
        form = dictionary ? 'y' : 'z'
      }
    }
    return { form, bytes: this.seal(bytes, place) }
  }

  unpack({ form, bytes }: Packed, place: string): string {
    const opened = this.open(bytes, place)
    if (form === 'p') return opened.toString()
    const dictionary = form === 'y' ? this.#dictionary : undefined
    return inflateRawSync(opened, { maxOutputLength, ...(dictionary && { dictionary }) }).toString()
  }

  seal(plain: Buffer, place: string): Buffer {
    if (!this.#key) return plain
    const nonce = randomBytes(12)
    const cipher = createCipheriv('aes-256-gcm', this.#key, nonce).setAAD(Buffer.from(place))
    const sealed = Buffer.concat([cipher.update(plain), cipher.final()])
    return Buffer.concat([nonce, cipher.getAuthTag(), sealed])
  }

  open(sealed: Buffer, place: string): Buffer {
    if (!this.#key) return sealed
    const decipher = createDecipheriv('aes-256-gcm', this.#key, sealed.subarray(0, 12))
      .setAAD(Buffer.from(place))
      .setAuthTag(sealed.subarray(12, 28))
    return Buffer.concat([decipher.update(sealed.subarray(28)), decipher.final()])
  }
}
