import { createOpenAI } from '@ai-sdk/openai'
import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import Anthropic from '@anthropic-ai/sdk'
import { GoogleGenAI } from '@google/genai'
import { GoogleGenerativeAI } from '@google/generative-ai'
import { ChatOpenAI } from '@langchain/openai'
import { fetchEventSource } from '@microsoft/fetch-event-source'
import { Mistral } from '@mistralai/mistralai'
import { DefaultChatTransport, readUIMessageStream, streamText, type UIMessage } from 'ai'
import { CohereClientV2 } from 'cohere-ai'
import { EventSource } from 'eventsource'
import { createEventSource } from 'eventsource-client'
import { Ollama } from 'ollama'
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

/** streamText keeps its errors for apps that ask. */
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
  '@mistralai/mistralai, chat': {
    dialect: 'openaiChat',
    async stream(url, onText) {
      const client = new Mistral({ apiKey: 'test', serverURL: url, retryConfig: { strategy: 'none' } })
      for await (const { data } of await client.chat.stream({ model: 'test-model', messages }))
        onText(String(data.choices[0]?.delta.content ?? ''))
    },
  },
  '@mistralai/mistralai, conversations': {
    dialect: 'mistral',
    async stream(url, onText) {
      const client = new Mistral({ apiKey: 'test', serverURL: url, retryConfig: { strategy: 'none' } })
      for await (const { data } of await client.beta.conversations.startStream({ model: 'm', inputs: 'Hi' }))
        if (data.type === 'message.output.delta') onText(String(data.content))
    },
  },
  'fetch, cut at blank lines': blockReader((block) => block),
  'fetch, cut at blank lines and trimmed': blockReader((block) => block.trim()),
  '@microsoft/fetch-event-source': {
    dialect: 'openaiChat',
    async stream(url, onText) {
      // It is for browsers.
      const page = { window: globalThis, document: { removeEventListener() {} } }
      Object.assign(globalThis, page)
      await fetchEventSource(`${url}/v1/chat/completions`, {
        method: 'POST',
        body: JSON.stringify(chat),
        async onopen(response) {
          if (!response.ok) throw await failed(response)
        },
        onmessage({ data }) {
          if (data !== '[DONE]') onText(textIn(JSON.parse(data)))
        },
        onerror(error) {
          throw error
        },
        openWhenHidden: true,
        fetch,
      }).finally(() => {
        for (const name of Object.keys(page)) Reflect.deleteProperty(globalThis, name)
      })
    },
  },
  '@google/genai': {
    dialect: 'gemini',
    async stream(url, onText) {
      const client = new GoogleGenAI({
        apiKey: 'test',
        httpOptions: { baseUrl: url, retryOptions: { attempts: 1 } },
      })
      const stream = await client.models.generateContentStream({ model: 'test-model', contents: 'Hi' })
      for await (const { text } of stream) onText(text ?? '')
    },
  },
  '@google/generative-ai': {
    dialect: 'gemini',
    async stream(url, onText) {
      const model = new GoogleGenerativeAI('test').getGenerativeModel(
        { model: 'test-model' },
        { baseUrl: url },
      )
      const { stream, response } = await model.generateContentStream('Hi')
      // It rejects as well.
      response.catch(() => {})
      for await (const piece of stream) onText(piece.text())
    },
  },
  'cohere-ai': {
    dialect: 'cohere',
    async stream(url, onText) {
      const client = new CohereClientV2({ token: 'test', environment: url, maxRetries: 0 } as never)
      for await (const event of await client.chatStream({ model: 'test-model', messages }))
        if (event.type === 'content-delta') onText(event.delta?.message?.content?.text ?? '')
    },
  },
  ollama: {
    dialect: 'ollama',
    async stream(url, onText) {
      const client = new Ollama({ host: url })
      for await (const { message } of await client.chat({ model: 'test-model', messages, stream: true }))
        onText(message.content)
    },
  },
  'openai 6, images': {
    dialect: 'images',
    async stream(url, onText) {
      const call = { model: 'gpt-image-1', prompt: 'Hi', stream: true as const, partial_images: 1 }
      for await (const event of await new OpenAI(options(url)).images.generate(call)) onText(event.b64_json)
    },
  },
  'openai 6, transcriptions': {
    dialect: 'transcriptions',
    async stream(url, onText) {
      const call = { model: 'gpt-4o-transcribe', file: new File(['x'], 'a.wav'), stream: true as const }
      for await (const event of await new OpenAI(options(url)).audio.transcriptions.create(call))
        if (event.type === 'transcript.text.delta') onText(event.delta)
    },
  },
  'openai 6, assistants': {
    dialect: 'assistants',
    async stream(url, onText) {
      const runs = new OpenAI(options(url)).beta.threads.runs
      for await (const { event, data } of await runs.create('thread_1', {
        assistant_id: 'a',
        stream: true,
      })) {
        const content = event === 'thread.message.delta' ? data.delta.content?.[0] : undefined
        if (content?.type === 'text') onText(content.text?.value ?? '')
      }
    },
  },
  'openai 6, a response asked for again': {
    dialect: 'openaiResponses',
    async stream(url, onText) {
      const stream = await new OpenAI(options(url)).responses.retrieve('resp_1', {
        stream: true,
        starting_after: 0,
      })
      for await (const event of stream) if (event.type === 'response.output_text.delta') onText(event.delta)
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
            // It reports no status: this is where its users can see one.
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

const textIn = ({ choices, error }: { choices?: ChatChunkLike['choices']; error?: { message: string } }) => {
  if (error) throw new Error(error.message)
  return choices?.[0]?.delta?.content ?? ''
}

const failed = async (response: Response) =>
  Object.assign(new Error(await response.text()), { status: response.status })

/** The usual loop around `fetch`: a line that does not begin with `data:` is not an event of the stream. */
function blockReader(prepare: (block: string) => string): RealClient {
  return {
    dialect: 'openaiChat',
    async stream(url, onText) {
      const response = await fetch(`${url}/v1/chat/completions`, {
        method: 'POST',
        body: JSON.stringify(chat),
      })
      if (!response.ok || !response.body) throw await failed(response)
      const decoder = new TextDecoder()
      let rest = ''
      for await (const chunk of response.body) {
        const blocks = (rest + decoder.decode(chunk, { stream: true })).split('\n\n')
        rest = blocks.pop() ?? ''
        for (const block of blocks.map(prepare)) {
          if (!block.startsWith('data: ')) continue
          if (block === 'data: [DONE]') return
          onText(textIn(JSON.parse(block.slice('data: '.length))))
        }
      }
      throw new Error('the stream ended without [DONE]')
    },
  }
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
