const quote = 0x22
const backslash = 0x5c

/** The members at the top of a chat's body. */
type Member = 'stream' | 'model' | 'messages' | 'prompt'

const members: readonly string[] = ['stream', 'model', 'messages', 'prompt'] satisfies Member[]
/** Longer names and models are cut. */
const maxText = 256

/**
 * Finds what a JSON body says of itself while its bytes pass by. It keeps none of them: a body may hold a hundred pictures.
 */
export class BodyMembers {
  /** The value of `stream`. */
  stream: boolean | undefined
  model: string | undefined
  /** The members that were seen, of those that are looked for. */
  readonly names = new Set<string>()
  #depth = 0
  #inString = false
  #isEscaped = false
  #isOver = false
  /** The text that is being read, or was read last, at the top; one character for each byte. */
  #text = ''
  /** The name whose value is next. */
  #name: string | undefined

  /** Whether nothing more will be found. */
  get isOver(): boolean {
    return this.#isOver
  }

  push(bytes: Uint8Array): void {
    for (const byte of bytes) {
      if (this.#isOver) return
      if (this.#inString) this.#character(byte)
      else this.#token(byte)
    }
  }

  /** Once all is known, the rest of the body need not be looked at. */
  #look(): void {
    const isChat = this.names.has('messages') || this.names.has('prompt')
    if (isChat && this.stream !== undefined && this.model !== undefined) this.#isOver = true
  }

  #character(byte: number): void {
    if (!this.#isEscaped && byte === quote) {
      this.#inString = false
      if (this.#depth === 1 && this.#name === 'model') this.model = decoded(this.#text)
      this.#look()
      return
    }
    this.#isEscaped = !this.#isEscaped && byte === backslash
    if (this.#depth === 1 && this.#text.length < maxText) this.#text += String.fromCharCode(byte)
  }

  #token(byte: number): void {
    switch (byte) {
      case quote:
        this.#inString = true
        this.#text = ''
        if (this.#depth === 0) this.#isOver = true
        break
      case 0x7b: // {
      case 0x5b: // [
        // Only an object has members.
        if (this.#depth === 0 && byte === 0x5b) this.#isOver = true
        this.#depth++
        break
      case 0x7d: // }
      case 0x5d: // ]
        this.#depth--
        if (this.#depth <= 0) this.#isOver = true
        break
      case 0x3a: // :
        if (this.#depth !== 1) break
        this.#name = this.#text
        if (members.includes(this.#text)) this.names.add(this.#text)
        this.#look()
        break
      case 0x2c: // ,
        if (this.#depth === 1) this.#name = undefined
        break
      case 0x74: // true
      case 0x66: // false
        if (this.#depth === 1 && this.#name === 'stream') this.stream ??= byte === 0x74
        this.#look()
        break
      default:
        // Neither space nor a byte order mark: a form, say.
        if (this.#depth === 0 && byte > 0x20 && byte < 0x80) this.#isOver = true
    }
  }
}

function decoded(text: string): string | undefined {
  try {
    return JSON.parse(`"${Buffer.from(text, 'latin1').toString()}"`) as string
  } catch {
    return undefined
  }
}
