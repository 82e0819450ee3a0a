import type { StreamContext } from 'unhang'
import type { UpstreamCall } from './client.js'

/** One chat that has been read and can be asked for. */
export interface Chat {
  model: string
  /** Parameters that the API has no place for; they change how an answer is found, not what it is. */
  ignored: readonly string[]
}

/** One of the two ways to talk to Qolaba. */
export interface ChatApi<ReadChat extends Chat = Chat> {
  /** @throws an error with status 400 that says what cannot be taken */
  read(body: unknown): ReadChat
  /** Fills a stream with the answer. */
  stream(stream: StreamContext, chat: ReadChat, key: string): Promise<unknown>
  /** The answer as one `chat.completion`. */
  answer(chat: ReadChat, call: UpstreamCall): Promise<object>
}
