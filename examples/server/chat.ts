import type { ServerResponse } from 'node:http'
import type { StreamContext } from 'unhang'
import type { Chat, ChatApi } from '../qolaba/chat-api.js'
import { QolabaClient } from '../qolaba/client.js'
import { openAIApi } from '../qolaba/openai-api.js'
import { studioApi } from '../qolaba/studio-api.js'
import { answerJson } from './answer-json.js'
import { openAIError } from './openai-error.js'
import type { AppSettings } from './run.js'

/** One request, read and allowed. */
export interface ChatCall {
  chat: Chat
  key: string
}

/** What the examples do, apart from the lines of their framework. */
export class ChatProxy {
  readonly #api: ChatApi
  readonly #settings: AppSettings

  constructor(settings: AppSettings) {
    this.#settings = settings
    const client = new QolabaClient(settings.baseUrl)
    this.#api = (settings.api === 'openai' ? openAIApi(client) : studioApi(client)) as ChatApi
  }

  /** @throws an error with status 401 */
  readKey(authorization: string | undefined): string {
    const [, given] = /^Bearer +(\S+)/i.exec(authorization ?? '') ?? []
    const key = this.#settings.apiKey ?? given
    if (!key) throw openAIError(401, 'An API key is missing: send Authorization: Bearer KEY.')
    return key
  }

  /** @throws an error with status 400 */
  readChat(body: unknown, response: ServerResponse): Chat {
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
