/** Which events hold nothing but another piece of the answer; both expressions see an event's bytes as text. */
export interface SkippedEvents {
  /** Matches every such event. */
  readonly content: RegExp
  /** Matches no such event. */
  readonly unless: RegExp
}

// A block is the lines of one event or comment, with the blank line that ends it.
const blankLine = /(?:\r\n|\r(?!\n)|\n)(?:\r\n|\r|\n)/g

/** Where the first block that ends after `from` ends, in a text without a CR; 0 without one. */
export function endOfPlainBlock(text: string, from: number): number {
  const at = text.indexOf('\n\n', from)
  return at === -1 ? 0 : at + 2
}

/** The same in a text that holds a CR: the slower way. */
export function endOfBlock(text: string, from: number): number {
  blankLine.lastIndex = from
  return blankLine.test(text) ? blankLine.lastIndex : 0
}

/** One line of data without other fields, which holds content and nothing that would change the stream's state. */
export function isPiece(block: string, { content, unless }: SkippedEvents): boolean {
  if (!block.startsWith('data:')) return false
  const lineEnd = block.indexOf('\n')
  const isOneLine =
    lineEnd === block.length - 2 || (lineEnd === block.length - 3 && block.endsWith('\r\n\r\n'))
  return isOneLine && content.test(block) && !unless.test(block)
}
