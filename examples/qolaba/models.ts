/** A model in Qolaba's terms: its provider, and its name there. */
export interface QolabaModel {
  llm: 'OpenAI' | 'ClaudeAI' | 'GeminiAI'
  llm_model: string
}

const openai = (name: string): QolabaModel => ({ llm: 'OpenAI', llm_model: name })
const claude = (name: string): QolabaModel => ({ llm: 'ClaudeAI', llm_model: name })
const gemini = (name: string): QolabaModel => ({ llm: 'GeminiAI', llm_model: name })

/** The models the proxy offers. Qolaba has no endpoint that lists them. */
export const models: ReadonlyMap<string, QolabaModel> = new Map([
  ['gpt-4.1-mini-2025-04-14', openai('gpt-4.1-mini-2025-04-14')],
  ['gpt-4.1-2025-04-14', openai('gpt-4.1-2025-04-14')],
  ['gpt-4o-mini', openai('gpt-4o-mini')],
  ['gpt-4o', openai('gpt-4.1-2025-04-14')],
  ['gpt-3.5-turbo', openai('gpt-4.1-mini-2025-04-14')],
  ['o3-mini', openai('o3-mini')],
  ['o4-mini-2025-04-16', openai('o4-mini-2025-04-16')],
  ['claude-3-5-sonnet-20241022', claude('claude-3-7-sonnet-latest')],
  ['claude-3-opus-20240229', claude('claude-opus-4-20250514')],
  ['claude-sonnet-4-20250514', claude('claude-sonnet-4-20250514')],
  ['gemini-1.5-pro', gemini('gemini-2.5-pro')],
])

/** The answer to `GET /v1/models`. */
export const modelList = {
  object: 'list',
  data: [...models].map(([id, { llm }]) => ({ id, object: 'model', created: 0, owned_by: llm })),
}
