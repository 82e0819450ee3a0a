import { openaiChat } from './dialect-openai-chat.js'
import { plain } from './dialect-plain.js'
import type { SSEEvent } from './sse-encode.js'
import type { StreamDialect } from './stream-dialect.js'

/** The dialects that come with unhang. */
export const dialects = { openaiChat, plain } as const satisfies Record<string, StreamDialect>

export type DialectName = keyof typeof dialects

/**
 * @param choice a dialect, its name, or nothing for the one that fits `path`
 * @throws TypeError for an unknown name
 */
export function selectDialect(choice: StreamDialect | DialectName | undefined, path = ''): StreamDialect {
  if (choice === undefined) return /\/completions\/?(\?|$)/.test(path) ? openaiChat : plain
  if (typeof choice === 'object') return choice
  if (Object.hasOwn(dialects, choice)) return dialects[choice]
  throw new TypeError(`dialect must be one of ${Object.keys(dialects).join(', ')}; got ${String(choice)}`)
}

/** The dialect that an event gives away; `undefined` if it could be any. */
export function recognizeDialect({ data }: SSEEvent): StreamDialect | undefined {
  if (typeof data === 'object' && data !== null) {
    const { object } = data as { object?: unknown }
    return object === 'chat.completion.chunk' || object === 'text_completion' ? openaiChat : undefined
  }
  return typeof data === 'string' && /^\{.*"object": *"(chat\.completion\.chunk|text_completion)"/s.test(data)
    ? openaiChat
    : undefined
}
