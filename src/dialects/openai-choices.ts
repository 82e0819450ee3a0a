/** As many as the API itself gives. Of more, each would cost more memory here than in the upstream's answer. */
export const maxChoices = 128

/** Whether a choice can have this number; one that has another is not looked at. */
export function isChoiceIndex(index: unknown): index is number {
  return Number.isInteger(index) && Number(index) >= 0 && Number(index) < maxChoices
}
