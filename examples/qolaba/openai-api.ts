import { readAnswer } from 'unhang'
import type { Chat, ChatApi } from './chat-api.js'
import type { QolabaClient } from './client.js'
import { RefusedRequest } from './translate.js'

interface OpenAIChat extends Chat {
  body: object
}

/** Qolaba's OpenAI-compatible endpoint (`QOLABA_API=openai`): requests and answers are passed on as they are. */
export function openAIApi(client: QolabaClient): ChatApi<OpenAIChat> {
  return {
    read(body) {
      const { model, stream } = (body ?? {}) as { model?: unknown; stream?: unknown }
      if (typeof body !== 'object' || body === null || Array.isArray(body))
        throw new RefusedRequest('The body must be a JSON object.')
      if (typeof model !== 'string')
        throw new RefusedRequest(`model must be a name, got ${JSON.stringify(model)}.`)
      if (stream !== undefined && stream !== null && typeof stream !== 'boolean') {
        throw new RefusedRequest(`stream must be true or false, got ${JSON.stringify(stream)}.`)
      }
      return { model, ignored: [], body }
    },
    async stream({ openUpstream, relay, deadlines }, { body }, key) {
      const upstream = await openUpstream(({ signal }) =>
        client.chatCompletions(body, { key, signal, deadlines }),
      )
      await relay(upstream)
    },
    async answer({ body }, call) {
      const { signal, deadlines } = call
      const upstream = await client.chatCompletions(body, call)
      const onChunk = () => deadlines.touch()
      return (await readAnswer(upstream, { signal, onChunk, dialect: 'openaiChat' })) as object
    },
  }
}
