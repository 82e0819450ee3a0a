import type { StreamUsage } from '../diagnostics/channels.js'
import { isObject, type JsonObject, jsonOf, objectsIn } from './dialect.js'

type Tokens = Omit<StreamUsage, 'source'>

/** Finds the usage in the events of a stream of any API, and counts pieces of the answer beside it. */
export class UsageTally {
  /** Events that held a piece of the answer. */
  pieces = 0
  #tokens: Tokens = {}
  /** Some say it of each choice. */
  readonly #byChoice = new Map<unknown, Tokens>()

  /** Looks at the data of an event. The last numbers count. */
  see(data: unknown): void {
    if (typeof data === 'string' && !mayReport.test(data)) return
    const event = jsonOf(data)
    if (!event) return
    for (const { index, usage } of objectsIn(event.choices))
      if (isObject(usage)) this.#byChoice.set(index, tokensOf(usage))
    for (const said of reportsIn(event)) this.#tokens = { ...this.#tokens, ...tokensOf(said) }
  }

  get usage(): StreamUsage {
    const tokens = { ...sumOf([...this.#byChoice.values()]), ...this.#tokens }
    if (tokens.outputTokens !== undefined || tokens.totalTokens !== undefined)
      return { ...tokens, source: 'reported' }
    return { ...tokens, outputTokens: this.pieces, source: 'counted' }
  }
}

/** Not `"usage": null`, which stands in each chunk of some. */
const mayReport = /"usage(?:Metadata)?"\s*:\s*\{|"(?:(?:prompt_)?eval_count|completionTokens)"/

/** Where each API says it. */
function* reportsIn(event: JsonObject): Generator<JsonObject> {
  const { type, usage, usageMetadata, response, message, delta, x_groq: groq } = event
  // Anthropic begins with its input tokens. The end of the stream repeats its output tokens.
  if (type === 'message_start' && isObject(message) && isObject(message.usage)) {
    const { output_tokens: _sofar, ...read } = message.usage
    yield read
  }
  for (const holder of [response, delta, groq])
    if (isObject(holder) && isObject(holder.usage)) yield holder.usage
  if (isObject(usage)) yield usage
  if (isObject(usageMetadata)) yield usageMetadata
  // Ollama and Qolaba say it beside the rest.
  if (event.eval_count !== undefined || event.completionTokens !== undefined) yield event
}

const inputs = 'prompt_tokens input_tokens promptTokenCount prompt_eval_count promptTokens'.split(' ')
const outputs = 'completion_tokens output_tokens candidatesTokenCount eval_count completionTokens'.split(' ')

function tokensOf(said: JsonObject): Tokens {
  const { tokens } = said
  const all = isObject(tokens) ? tokens : said
  const input = first(all, inputs)
  const thoughts = first(all, ['thoughtsTokenCount']) ?? 0
  const output = first(all, outputs)
  const total = first(all, ['total_tokens', 'totalTokenCount'])
  return {
    ...(input !== undefined && { inputTokens: input }),
    ...(output !== undefined && { outputTokens: output + thoughts }),
    ...(total !== undefined && { totalTokens: total }),
  }
}

function first(numbers: JsonObject, names: readonly string[]): number | undefined {
  const name = names.find((each) => typeof numbers[each] === 'number' && Number(numbers[each]) >= 0)
  return name === undefined ? undefined : Number(numbers[name])
}

/** Each choice says what the request had: that has been read once. */
function sumOf([first = {}, ...others]: readonly Tokens[]): Tokens {
  const { outputTokens = 0, totalTokens } = first
  const more = others.reduce((sum, { outputTokens = 0 }) => sum + outputTokens, 0)
  if (others.length === 0) return first
  const total = totalTokens !== undefined && { totalTokens: totalTokens + more }
  return { ...first, outputTokens: outputTokens + more, ...total }
}
