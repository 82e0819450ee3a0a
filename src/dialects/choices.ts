import { type JsonObject, objectsIn } from './dialect.js'

/** As many as the APIs themselves give. Of more, each would cost more memory here than in the upstream's answer. */
export const maxChoices = 128

/** Whether a choice can have this number; one that has another is not looked at. */
export function isChoiceIndex(index: unknown): index is number {
  return Number.isInteger(index) && Number(index) >= 0 && Number(index) < maxChoices
}

/** One of several answers to the same request. */
interface CollectedChoice {
  /** @returns by how much it has grown, in characters */
  add(piece: JsonObject): number
}

/** The choices of one answer, or its candidates, each put together from its pieces. */
export class CollectedChoices<Choice extends CollectedChoice> {
  readonly #create: () => Choice
  readonly #byIndex = new Map<number, Choice>()

  constructor(create: () => Choice) {
    this.#create = create
  }

  /** @returns by how much they have grown, in characters */
  add(pieces: unknown): number {
    let grown = 0
    for (const piece of objectsIn(pieces)) {
      const { index = 0 } = piece
      if (!isChoiceIndex(index)) continue
      const choice = this.#byIndex.get(index) ?? this.#create()
      this.#byIndex.set(index, choice)
      grown += choice.add(piece)
    }
    return grown
  }

  get inOrder(): [number, Choice][] {
    return [...this.#byIndex].sort(([a], [b]) => a - b)
  }
}
