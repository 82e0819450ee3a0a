import type { IncomingMessage, ServerResponse } from 'node:http'
import type { StreamContext } from 'unhang'
import type { Chat, ChatApi } from '../qolaba/chat-api.js'
import { QolabaClient } from '../qolaba/client.js'
import { openAIApi } from '../qolaba/openai-api.js'
import { studioApi } from '../qolaba/studio-api.js'
import { bearerKey } from './access.js'
import { answerJson } from './answer-json.js'
import { openAIError } from './openai-error.js'
import type { AppSettings } from './run.js'

/** One request, read and allowed. */
export interface ChatCall {
  chat: Chat
  key: string
}

/** The work of the examples, apart from the lines of their framework. */
export class ChatProxy {
  readonly #api: ChatApi
  readonly #settings: AppSettings

  constructor(settings: AppSettings) {
    this.#settings = settings
    const client = new QolabaClient(settings.baseUrl)
    this.#api = (settings.api === 'openai' ? openAIApi(client) : studioApi(client)) as ChatApi
  }

  /** @throws an error with status 401 or 403 */
  readKey(request: IncomingMessage): string {
    const { access, apiKey } = this.#settings
    access.checkClient(request)
    const key = apiKey ?? bearerKey(request)
    if (!key) throw openAIError(401, 'An API key is missing: send Authorization: Bearer KEY.')
    return key
  }

  /** @throws an error with status 400 */
  readChat(body: unknown, response: ServerResponse): Chat {
    if (isNested(body, maxDepth)) throw openAIError(400, 'The body is nested too deeply.')
    const chat = this.#api.read(body)
    if (chat.ignored.length > 0) response.setHeader('x-ignored-parameters', chat.ignored.join(', '))
    return chat
  }

  stream(stream: StreamContext, { chat, key }: ChatCall): Promise<unknown> {
    return this.#api.stream(stream, chat, key)
  }

  answer(response: ServerResponse, { chat, key }: ChatCall): Promise<void> {
    const { timeouts } = this.#settings
    return answerJson(response, (call) => this.#api.answer(chat, { key, ...call }), {
      model: chat.model,
      timeouts,
    })
  }
}

/** Deeper than any chat. `JSON.parse` takes more, and the stack overflows in what writes it again. */
const maxDepth = 500

function isNested(value: unknown, depth: number): boolean {
  if (typeof value !== 'object' || value === null) return false
  return depth === 0 || Object.values(value).some((inner) => isNested(inner, depth - 1))
}
