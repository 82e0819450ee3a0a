import { randomUUID } from 'node:crypto'
import { type EventMap, type SSEEvent, StreamError, UpstreamError } from 'unhang'
import type { Chat } from './chat-api.js'
import { models, type QolabaModel } from './models.js'

/** One chat, as Qolaba takes it, and what its answer needs to know of the request. */
export interface StudioChat extends Chat {
  includeUsage: boolean
  body: QolabaRequest
}

export interface QolabaRequest extends QolabaModel {
  history: QolabaMessage[]
  temperature: number
  image_analyze: boolean
  enable_tool: boolean
  system_msg: string
  token?: number
  orgID: string
  function_call_list: never[]
  systemId: string
  last_user_query: string
  tools: object
}

interface QolabaMessage {
  role: 'user' | 'assistant'
  content: { text: string; image_data: { url: string; details: 'low' | 'high' }[] }
}

export interface QolabaAnswer {
  output: string
  promptTokens?: number
  completionTokens?: number
}

/** A request that Qolaba cannot answer. Its message is meant for the client. */
export class RefusedRequest extends Error {
  readonly expose = true
  readonly status = 400
  readonly code = 'invalid_request'
}

type Fields = Record<string, unknown>

/**
 * Translates an OpenAI chat request for Qolaba.
 *
 * @throws an error with status 400 that says what Qolaba cannot take
 */
export function toQolaba(request: unknown): StudioChat {
  if (!isFields(request)) throw new RefusedRequest('The body must be a JSON object.')
  const { model, messages } = request
  if (typeof model !== 'string') throw new RefusedRequest(`model must be a name, got ${show(model)}.`)
  const known = models.get(model)
  if (!known)
    throw new RefusedRequest(`The model ${show(model)} is unknown; GET /v1/models lists the known ones.`)
  if (!Array.isArray(messages) || messages.length === 0) {
    throw new RefusedRequest('messages must be a list with at least one message.')
  }
  refuseImpossible(request)
  const history = messages.filter((message) => !isSystem(message)).map(toMessage)
  const lastUser = history.findLast(({ role }) => role === 'user')
  if (!lastUser) throw new RefusedRequest('messages must hold at least one message of the user.')
  const maxTokens = readNumber(request, 'max_completion_tokens') ?? readNumber(request, 'max_tokens')
  return {
    model,
    includeUsage: isFields(request.stream_options) && request.stream_options.include_usage === true,
    ignored: hints.filter((name) => !isNeutral(name, request[name])),
    body: {
      ...known,
      history,
      temperature: readNumber(request, 'temperature') ?? 1,
      image_analyze: history.some(({ content }) => content.image_data.length > 0),
      enable_tool: false,
      system_msg: messages.filter(isSystem).map(textOf).join('\n\n'),
      ...(maxTokens === undefined ? {} : { token: maxTokens }),
      orgID: '',
      function_call_list: [],
      systemId: '',
      last_user_query: lastUser.content.text,
      tools: noTools,
    },
  }
}

/** No model is called like this. */
const placeholder = '{text}'

/** A piece of text and nothing else, as nearly all events are: its JSON can be handed on as it was written. */
const plainOutput = /^\{"output": ?("[^"\\\p{Cc}]+")\}$/u

/** Turns Qolaba's events into the chunks of an OpenAI stream. */
export function toOpenAIChunks({ model, includeUsage }: StudioChat): EventMap {
  const created = Math.floor(Date.now() / 1000)
  const base = { id: `chatcmpl-${randomUUID()}`, object: 'chat.completion.chunk', created, model }
  const usageField = includeUsage ? { usage: null } : {}
  const chunk = (delta: object, finishReason: string | null = null): SSEEvent => ({
    data: { ...base, choices: [{ index: 0, delta, finish_reason: finishReason }], ...usageField },
  })
  // All chunks of text are the same but for the text.
  const [beforeText, afterText] = JSON.stringify(chunk({ content: placeholder }).data).split(
    `"${placeholder}"`,
  )
  const textChunk = (text: string): SSEEvent => ({ data: beforeText + JSON.stringify(text) + afterText })
  let begun = false
  return ({ data }) => {
    const written = begun ? plainOutput.exec(data)?.[1] : undefined
    if (written) return { data: beforeText + written + afterText }
    const message: Fields = data === '[DONE]' ? { output: null } : readEvent(data)
    const events = begun ? [] : [chunk({ role: 'assistant', content: '' })]
    begun = true
    if (typeof message.output === 'string') {
      if (message.output !== '') events.push(textChunk(message.output))
      // With its tokens counted it is the whole answer at once, as of `/chat`.
      if (message.completionTokens === undefined) return events
    } else if (message.output !== null) return events
    const usage = toUsage(message)
    events.push(chunk({}, 'stop'))
    if (includeUsage && usage) events.push({ data: { ...base, choices: [], usage } })
    return [...events, { data: '[DONE]' }]
  }
}

/** Turns Qolaba's complete answer into an OpenAI completion. */
export function toOpenAICompletion({ model }: StudioChat, answer: QolabaAnswer): object {
  const usage = toUsage(answer)
  return {
    id: `chatcmpl-${randomUUID()}`,
    object: 'chat.completion',
    created: Math.floor(Date.now() / 1000),
    model,
    choices: [
      {
        index: 0,
        message: { role: 'assistant', content: answer.output },
        finish_reason: 'stop',
        logprobs: null,
      },
    ],
    ...(usage ? { usage } : {}),
  }
}

/**
 * Reads Qolaba's JSON, which is nowhere specified.
 *
 * @throws UpstreamError for an error it reports, StreamError for anything but a JSON object
 */
export function readEvent(text: string): Fields {
  let event: unknown
  try {
    event = JSON.parse(text)
  } catch (cause) {
    throw new StreamError('upstream_protocol', { cause })
  }
  if (!isFields(event)) throw new StreamError('upstream_protocol')
  if (event.error) throw new UpstreamError({ detail: text })
  return event
}

/** Only the numbers of Qolaba: a guess might be billed. */
function toUsage({ promptTokens, completionTokens }: Fields | QolabaAnswer) {
  if (typeof promptTokens !== 'number' || typeof completionTokens !== 'number') return undefined
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
  }
}

const hints = ['top_p', 'presence_penalty', 'frequency_penalty', 'logit_bias', 'seed', 'reasoning_effort']
const neutral: Fields = { top_p: 1, presence_penalty: 0, frequency_penalty: 0 }

function isNeutral(name: string, value: unknown): boolean {
  return value === undefined || value === null || value === neutral[name] || isEmpty(value)
}

function isEmpty(value: unknown): boolean {
  return typeof value === 'object' && value !== null && Object.keys(value).length === 0
}

/** Parameters that would change the answer, and that Qolaba does not have. */
function refuseImpossible(request: Fields): void {
  const { tools, functions, tool_choice: toolChoice, n, stop, logprobs, modalities } = request
  const format = isFields(request.response_format) ? request.response_format.type : undefined
  const refuse = (what: string) => {
    throw new RefusedRequest(`Qolaba cannot ${what}.`)
  }
  if ((isFilled(tools) && toolChoice !== 'none') || isFilled(functions)) {
    refuse('call tools of the client; leave tools out, or set tool_choice to "none"')
  }
  if (typeof n === 'number' && n !== 1) refuse(`give ${n} choices; n must be 1`)
  if (typeof stop === 'string' ? stop !== '' : isFilled(stop)) refuse('end at stop sequences; leave stop out')
  if (format !== undefined && format !== 'text') refuse(`promise the response_format ${show(format)}`)
  if (logprobs === true) refuse('give logprobs')
  if (Array.isArray(modalities) && modalities.some((mode) => mode !== 'text'))
    refuse('answer in anything but text')
}

function isFilled(value: unknown): boolean {
  return Array.isArray(value) && value.length > 0
}

function isSystem(message: unknown): boolean {
  return isFields(message) && (message.role === 'system' || message.role === 'developer')
}

function toMessage(message: unknown): QolabaMessage {
  if (!isFields(message)) throw new RefusedRequest(`A message must be an object, got ${show(message)}.`)
  const { role, tool_calls: toolCalls, function_call: functionCall } = message
  if (role === 'tool' || role === 'function' || isFilled(toolCalls) || functionCall) {
    throw new RefusedRequest('Qolaba cannot take tool calls and their results in a conversation.')
  }
  if (role !== 'user' && role !== 'assistant') {
    throw new RefusedRequest(`The role ${show(role)} is unknown.`)
  }
  const images = partsOf(message).filter((part) => part.type === 'image_url')
  return { role, content: { text: textOf(message), image_data: images.map(toImage) } }
}

function partsOf(message: Fields): Fields[] {
  const { content } = message
  if (content === undefined || content === null) return []
  if (typeof content === 'string') return [{ type: 'text', text: content }]
  if (!Array.isArray(content))
    throw new RefusedRequest(`A content must be text or a list, got ${show(content)}.`)
  for (const part of content) {
    const type = isFields(part) ? part.type : undefined
    if (type !== 'text' && type !== 'refusal' && type !== 'image_url') {
      throw new RefusedRequest(`Qolaba cannot take content of the type ${show(type)}.`)
    }
  }
  return content as Fields[]
}

/** All the text of a message: several parts are one text. */
function textOf(message: Fields): string {
  return partsOf(message)
    .map(({ type, text, refusal }) => (type === 'text' ? text : type === 'refusal' ? refusal : undefined))
    .filter((text): text is string => typeof text === 'string')
    .join('\n')
}

function toImage({ image_url: image }: Fields): QolabaMessage['content']['image_data'][number] {
  const { url, detail } =
    typeof image === 'string' ? { url: image, detail: undefined } : ((image ?? {}) as Fields)
  if (typeof url !== 'string') throw new RefusedRequest('An image_url must hold a url.')
  return { url, details: detail === 'low' ? 'low' : 'high' }
}

function readNumber(request: Fields, name: string): number | undefined {
  const value = request[name]
  if (value === undefined || value === null) return undefined
  if (typeof value === 'number' && Number.isFinite(value)) return value
  throw new RefusedRequest(`${name} must be a number, got ${show(value)}.`)
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function show(value: unknown): string {
  return (JSON.stringify(value) ?? String(value)).slice(0, 80)
}

const noTools = {
  tool_list: {
    image_generation: false,
    image_generation1: false,
    image_editing: false,
    search_doc: false,
    internet_search: false,
    python_code_execution_tool: false,
    csv_analysis: false,
  },
  number_of_context: 3,
  pdf_references: [''],
  embedding_model: ['text-embedding-3-large'],
  image_generation_parameters: {},
}
