import type { ServerResponse } from 'node:http'
import type { Stream } from 'unhang'
import { QolabaClient } from '../qolaba/client.js'
import { type Chat, toOpenAIChunks, toOpenAICompletion, toQolaba } from '../qolaba/translate.js'
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
  readonly #qolaba: QolabaClient
  readonly #settings: AppSettings

  constructor(settings: AppSettings) {
    this.#settings = settings
    this.#qolaba = new QolabaClient(settings.baseUrl)
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
    const chat = toQolaba(body)
    if (chat.ignored.length > 0) response.setHeader('x-ignored-parameters', chat.ignored.join(', '))
    return chat
  }

  async stream({ openUpstream, relay, signal, timeouts }: Stream, { chat, key }: ChatCall): Promise<void> {
    const upstream = await openUpstream(() => this.#qolaba.streamChat(chat.body, { key, signal, timeouts }))
    await relay(upstream, toOpenAIChunks(chat))
  }

  answer(response: ServerResponse, { chat, key }: ChatCall): Promise<void> {
    return answerJson(
      response,
      async (call) => toOpenAICompletion(chat, await this.#qolaba.chat(chat.body, { key, ...call })),
      { model: chat.model, timeouts: this.#settings.timeouts },
    )
  }
}
