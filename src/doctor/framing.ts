import type { Quote } from './quote.js'

/** Between two events. */
const blankLine = /\r\n\r\n|\n\n|\r\r/
const separators = { '\u2028': 'U+2028', '\u2029': 'U+2029', '\u0085': 'U+0085' } as const

/** The mistake in the events of a chat, if there is one. */
export function framingFault(body: string, quote: Quote): string | undefined {
  if (body.startsWith('\ufeff'))
    return 'a byte order mark before the first event: some clients lose that event'
  const blocks = body.split(blankLine)
  const rest = blocks.pop() ?? ''
  if (rest.split(/[\r\n]/).some((line) => line !== '' && !line.startsWith(':')))
    return `the last event has no blank line after it: ${quote(rest)}`
  for (const [index, block] of blocks.entries()) {
    const fault = blockFault(block, index === blocks.length - 1, quote)
    if (fault) return fault
  }
  return undefined
}

/** Raw line separators of Unicode: SillyTavern cuts a line at them. */
export function rawSeparators(body: string): string[] {
  return Object.entries(separators).flatMap(([character, name]) => (body.includes(character) ? [name] : []))
}

function blockFault(block: string, isLast: boolean, quote: Quote): string | undefined {
  const lines = block.split(/\r\n|\r|\n/).filter((line) => line !== '' && !line.startsWith(':'))
  if (lines.length === 0) return undefined
  const data = lines.filter((line) => line.startsWith('data:')).map((line) => line.slice(5).replace(/^ /, ''))
  if (data.length === 0) return `an event without data, on which OpenAI's own clients break: ${quote(block)}`
  const strange = lines.find((line) => !/^(?:data|event|id|retry)(?::|$)/.test(line))
  if (strange !== undefined) return `a line that is none of an event: ${quote(strange)}`
  const text = data.join('\n')
  if (text === '[DONE]') return isLast ? undefined : 'something follows [DONE]'
  try {
    const json: unknown = JSON.parse(text)
    return typeof json === 'object' && json !== null ? undefined : `data that is not a chunk: ${quote(text)}`
  } catch {
    return `data that is not JSON: ${quote(text)}`
  }
}
