import type { ChatApi } from './chat-api.js'
import type { QolabaClient } from './client.js'
import { type StudioChat, toOpenAIChunks, toOpenAICompletion, toQolaba } from './translate.js'

/** Qolaba's own format (`QOLABA_API=studio`): requests and answers are translated. */
export function studioApi(client: QolabaClient): ChatApi<StudioChat> {
  return {
    read: toQolaba,
    async stream({ openUpstream, relay, deadlines }, chat, key) {
      const upstream = await openUpstream(({ signal }) =>
        client.streamChat(chat.body, { key, signal, deadlines }),
      )
      await relay(upstream, toOpenAIChunks(chat))
    },
    answer: async (chat, call) => toOpenAICompletion(chat, await client.chat(chat.body, call)),
  }
}
