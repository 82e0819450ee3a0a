import { createOpenAI } from '@ai-sdk/openai'
import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import Anthropic from '@anthropic-ai/sdk'
import { ChatOpenAI } from '@langchain/openai'
import { DefaultChatTransport, readUIMessageStream, streamText, type UIMessage } from 'ai'
import { EventSource } from 'eventsource'
import { createEventSource } from 'eventsource-client'
import OpenAI from 'openai'
import OpenAI4 from 'openai4'
import OpenAI5 from 'openai5'

/** A client as people use it: asks for a stream, and hands out its text until it ends or fails. */
export interface RealClient {
  dialect: string
  /** Calls `onText` for each piece; returns when its stream is complete, throws what its user would see. */
  stream(url: string, onText: (text: string) => void): Promise<void>
}

const messages = [{ role: 'user' as const, content: 'Hi' }]
const chat = { model: 'test-model', messages, stream: true as const }
const options = (url: string) => ({ baseURL: `${url}/v1`, apiKey: 'test', maxRetries: 0 })

interface ChatChunkLike {
  choices: { delta?: { content?: string | null } }[]
}

/** The three majors of the SDK differ in their types alone. */
function chatClient(create: (url: string) => unknown): RealClient {
  return {
    dialect: 'openaiChat',
    async stream(url, onText) {
      const client = create(url) as OpenAI
      const stream = (await client.chat.completions.create(chat)) as AsyncIterable<ChatChunkLike>
      for await (const { choices } of stream) onText(choices[0]?.delta?.content ?? '')
    },
  }
}

/** streamText keeps its errors for those who ask. */
async function readAiSdk(
  model: Parameters<typeof streamText>[0]['model'],
  onText: (text: string) => void,
): Promise<void> {
  const { fullStream } = streamText({ model, prompt: 'Hi', maxRetries: 0, onError: () => {} })
  for await (const part of fullStream) {
    if (part.type === 'error') {
      const { error } = part as { error: { message?: string; error?: { message: string } } }
      throw error.error ? new Error(error.error.message) : error
    }
    if (part.type === 'text-delta') onText(part.text)
  }
}

export const realClients: Record<string, RealClient> = {
  'openai 4': chatClient((url) => new OpenAI4(options(url))),
  'openai 5': chatClient((url) => new OpenAI5(options(url))),
  'openai 6': chatClient((url) => new OpenAI(options(url))),
  'openai 6, .stream()': {
    dialect: 'openaiChat',
    async stream(url, onText) {
      const stream = new OpenAI(options(url)).chat.completions.stream(chat)
      for await (const { choices } of stream) onText(choices[0]?.delta?.content ?? '')
      await stream.finalChatCompletion()
    },
  },
  'openai 5, responses': responsesClient((url) => new OpenAI5(options(url))),
  'openai 6, responses': responsesClient((url) => new OpenAI(options(url))),
  '@anthropic-ai/sdk': {
    dialect: 'anthropic',
    async stream(url, onText) {
      const client = new Anthropic({ baseURL: url, apiKey: 'test', maxRetries: 0 })
      const stream = await client.messages.create({ ...chat, max_tokens: 10 })
      for await (const event of stream) {
        if (event.type === 'content_block_delta' && event.delta.type === 'text_delta')
          onText(event.delta.text)
      }
    },
  },
  '@anthropic-ai/sdk, .stream()': {
    dialect: 'anthropic',
    async stream(url, onText) {
      const client = new Anthropic({ baseURL: url, apiKey: 'test', maxRetries: 0 })
      const stream = client.messages.stream({ model: 'test-model', messages, max_tokens: 10 })
      await stream.on('text', (text) => onText(text)).finalMessage()
    },
  },
  'ai 5 with @ai-sdk/openai, chat': {
    dialect: 'openaiChat',
    stream: (url, onText) => readAiSdk(createOpenAI(options(url)).chat('test-model'), onText),
  },
  'ai 5 with @ai-sdk/openai, responses': {
    dialect: 'openaiResponses',
    stream: (url, onText) => readAiSdk(createOpenAI(options(url)).responses('test-model'), onText),
  },
  'ai 5 with @ai-sdk/openai-compatible': {
    dialect: 'openaiChat',
    stream: (url, onText) =>
      readAiSdk(createOpenAICompatible({ ...options(url), name: 'unhang' }).chatModel('test-model'), onText),
  },
  'ai 5, useChat’s transport': {
    dialect: 'aiSdkUi',
    async stream(url, onText) {
      const transport = new DefaultChatTransport<UIMessage>({ api: `${url}/api/chat` })
      const stream = await transport.sendMessages({
        trigger: 'submit-message',
        chatId: 'c1',
        messageId: undefined,
        messages: [{ id: 'u1', role: 'user', parts: [{ type: 'text', text: 'Hi' }] }],
        abortSignal: undefined,
      })
      let told = ''
      let failure: { error: unknown } | undefined
      const onError = (error: unknown) => {
        failure ??= { error }
      }
      for await (const message of readUIMessageStream({ stream, onError, terminateOnError: true })) {
        const text = message.parts.map((part) => (part.type === 'text' ? part.text : '')).join('')
        onText(text.slice(told.length))
        told = text
      }
      if (failure) throw failure.error
    },
  },
  '@langchain/openai': {
    dialect: 'openaiChat',
    async stream(url, onText) {
      const { baseURL, apiKey } = options(url)
      const model = new ChatOpenAI({ model: 'test-model', apiKey, configuration: { baseURL }, maxRetries: 0 })
      for await (const { content } of await model.stream('Hi')) onText(String(content))
    },
  },
  eventsource: {
    dialect: 'plain',
    stream: (url, onText) =>
      new Promise((resolve, reject) => {
        const source = new EventSource(`${url}/events`)
        source.onmessage = ({ data }) => {
          if (data !== 'bye') return onText(data)
          source.close()
          resolve()
        }
        source.addEventListener('error', (event) => {
          source.close()
          const { data, code, message } = event as { data?: string; code?: number; message?: string }
          reject(Object.assign(new Error(data ?? message), { status: code }))
        })
      }),
  },
  'eventsource-client': {
    dialect: 'plain',
    stream: (url, onText) =>
      new Promise((resolve, reject) => {
        const settle = (error?: Error) => {
          setImmediate(() => source.close())
          if (error) reject(error)
          else resolve()
        }
        const source = createEventSource({
          url: `${url}/events`,
          async fetch(input, init) {
            const response = await fetch(input, init as RequestInit)
            // It tells nobody of a status: this is where its users can see one.
            if (!response.ok) {
              settle(Object.assign(new Error(await response.text()), { status: response.status }))
            }
            return response as never
          },
          onMessage({ event, data }) {
            if (event === 'error') settle(new Error(data))
            else if (data === 'bye') settle()
            else onText(data)
          },
          onDisconnect: () => settle(new Error('disconnected')),
        })
      }),
  },
}

function responsesClient(create: (url: string) => unknown): RealClient {
  return {
    dialect: 'openaiResponses',
    async stream(url, onText) {
      const client = create(url) as OpenAI
      const stream = await client.responses.create({ model: 'test-model', input: 'Hi', stream: true })
      for await (const event of stream) {
        if (event.type === 'response.output_text.delta') onText(event.delta)
      }
    },
  }
}

/** Needs Node 22, and is therefore no dependency: `npm run test:openai7`. */
if (process.env.OPENAI7) {
  const { default: OpenAI7 } = (await import(process.env.OPENAI7)) as { default: typeof OpenAI }
  realClients['openai 7'] = chatClient((url) => new OpenAI7(options(url)))
  realClients['openai 7, responses'] = responsesClient((url) => new OpenAI7(options(url)))
}
