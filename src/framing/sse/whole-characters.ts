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
