import { nearest, shown } from '../errors/bad-input.js'
import type { FramingName } from '../framing/framing.js'
import type { SSEEvent } from '../framing/sse/encode.js'
import { aiSdkUi } from './ai-sdk-ui.js'
import { anthropic } from './anthropic.js'
import { cohere } from './cohere.js'
import type { DialectRequest, StreamDialect } from './dialect.js'
import { familyOf } from './event-families.js'
import { gemini } from './gemini.js'
import { isJsonRpcRequest, jsonRpc } from './json-rpc.js'
import { isOllamaClient, isOllamaLine, ollama } from './ollama.js'
import { openaiChat } from './openai-chat.js'
import { openaiResponses } from './openai-responses.js'
import { plain } from './plain.js'

/**
 * The dialects that come with unhang: OpenAI chat and responses, Anthropic, Gemini, Ollama, Cohere, the AI SDK UI, JSON-RPC
 * (MCP) and plain event streams.
 *
 * @see https://platform.openai.com/docs/api-reference/chat-streaming
 * @see https://docs.anthropic.com/en/docs/build-with-claude/streaming
 * @example
 * app.use(guardStreams({ dialect: dialects.anthropic }))
 */
export const dialects = {
  openaiChat,
  openaiResponses,
  anthropic,
  gemini,
  ollama,
  cohere,
  aiSdkUi,
  jsonRpc,
  plain,
} as const satisfies Record<string, StreamDialect>

/** The name of a dialect that comes with unhang. */
export type DialectName = keyof typeof dialects

const byPath: readonly [RegExp, StreamDialect][] = [
  [/\/completions\/?(\?|$)/, openaiChat],
  [/\/responses\/?(\?|$)|\/responses\/[^/?]+\?(.*&)?stream=true(&|$)/, openaiResponses],
  [/\/messages\/?(\?|$)/, anthropic],
  [/:streamGenerateContent\/?(\?|$)/, gemini],
  [/\/v2\/chat\/?(\?|$)/, cohere],
]

/**
 * @param choice a dialect, its name, or nothing for the one that fits `path` and `request`
 * @throws TypeError for an unknown name
 */
export function selectDialect(
  choice: StreamDialect | DialectName | undefined,
  path = '',
  request?: DialectRequest,
): StreamDialect {
  if (choice === undefined) {
    if (request && isJsonRpcRequest(request)) return jsonRpc
    if (request && isOllamaClient(request)) return ollama
    return byPath.find(([pattern]) => pattern.test(path))?.[1] ?? plain
  }
  if (typeof choice === 'object' && choice !== null) return checkDialect(choice)
  if (Object.hasOwn(dialects, choice)) return dialects[choice]
  const names = Object.keys(dialects)
  const meant = typeof choice === 'string' ? nearest(choice, names) : undefined
  const hint = meant === undefined ? '' : `; did you mean ${meant}?`
  const own = 'an object with follow() and errorBody()'
  throw new TypeError(`dialect must be one of ${names.join(', ')}, or ${own}; got ${shown(choice)}${hint}`)
}

/** One of the caller's own must be found wanting when the app is built, not by its first client. */
function checkDialect(dialect: StreamDialect): StreamDialect {
  for (const name of ['follow', 'errorBody'] as const) {
    if (typeof dialect[name] === 'function') continue
    throw new TypeError(`dialect.${name} must be a function, got ${shown(dialect[name])}`)
  }
  return dialect
}

/** The API that one of the first events of a stream shows. */
const byEvent: readonly [RegExp, StreamDialect][] = [
  [/^\s*\{.*"object": *"(chat\.completion\.chunk|text_completion)"/s, openaiChat],
  [/^\s*\{.*"type": *"response\.[a-z_.]+"/s, openaiResponses],
  [/^\s*\{.*"type": *"message_start"/s, anthropic],
  [/^\s*\{\s*"candidates"\s*:\s*\[\s*\{\s*"(content|finishReason)"/, gemini],
  [/^\s*\{.*"type": *"message-start"/s, cohere],
  [/^\s*[[{].*"jsonrpc"\s*:\s*"2\.0"/s, jsonRpc],
]

/** Less of a proof, but enough where the path says the same. */
const fitting: readonly [RegExp, StreamDialect][] = [
  [/^\s*\{.*"(candidates|usageMetadata|promptFeedback)"\s*:/s, gemini],
  [/^\s*\{.*"type": *"(content|tool-call|citation|message)-(start|delta|end)"/s, cohere],
  [/^\s*\{.*"choices": *\[|^\[DONE\]$/s, openaiChat],
  [/^\s*\{.*"type": *"(message|content_block)_(start|delta|stop)"|^\s*\{.*"type": *"ping"/s, anthropic],
]

/**
 * The dialect that an event gives away; `undefined` if it could be any.
 *
 * @param guess what the path says, which is right if the event fits it
 */
export function recognizeDialect(
  event: SSEEvent,
  guess?: StreamDialect,
  framing?: FramingName,
): StreamDialect | undefined {
  const { data } = event
  // Only headers say so.
  if (guess === aiSdkUi) return guess
  const json = typeof data === 'string' ? data : JSON.stringify(data)
  if (framing === 'ndjson') return isOllamaLine(json) ? ollama : undefined
  const known = byEvent.find(([pattern]) => pattern.test(json))?.[1] ?? familyOf(event)
  if (known) return known
  return fitting.find(([pattern, dialect]) => dialect === guess && pattern.test(json))?.[1]
}

/** The dialect that a response's headers give away. */
export function dialectOfHead(response: { hasHeader(name: string): boolean }): StreamDialect | undefined {
  return response.hasHeader('x-vercel-ai-ui-message-stream') ? aiSdkUi : undefined
}

/** Where the dialect of a stream is unknown, the answer shows it. */
const withAnswers: readonly StreamDialect[] = [openaiChat, openaiResponses, anthropic, gemini, ollama, cohere]

/** The dialect in which a whole answer can be sent as events: the stream's, or, if that is unknown, the one that fits. */
export function dialectOfAnswer(answer: unknown, dialect: StreamDialect): StreamDialect | undefined {
  const candidates = dialect.answers || dialect.name !== plain.name ? [dialect] : withAnswers
  return candidates.find(({ answers }) => answers?.toEvents(answer) !== undefined)
}
