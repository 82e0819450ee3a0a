import type { DialectName } from 'unhang'
import type { FaultName } from 'unhang/testing'

/** The faults of the page's upstream, in groups. */
export const scenarios: Readonly<Record<string, readonly { fault: FaultName; label: string }[]>> = {
  'Nothing goes wrong': [{ fault: 'good', label: 'sends a whole answer' }],
  'In the middle of the answer, the upstream': [
    { fault: 'resetMidStream', label: 'resets the connection' },
    { fault: 'finMidStream', label: 'closes the connection' },
    { fault: 'truncated', label: 'ends early, as if the answer were complete' },
    { fault: 'halfEvent', label: 'closes the connection inside an event' },
    { fault: 'stalled', label: 'falls silent' },
    { fault: 'badChunkSize', label: 'sends bytes that are not HTTP' },
  ],
  'Before the answer, the upstream': [
    { fault: 'silent', label: 'never responds' },
    { fault: 'resetBeforeHead', label: 'resets the connection' },
    { fault: 'headOnly', label: 'sends status 200, and then nothing' },
  ],
  'Instead of an answer, the upstream': [
    { fault: 'rateLimited', label: 'sends status 429' },
    { fault: 'jsonError', label: 'sends status 200 with a JSON error' },
    { fault: 'webPage', label: 'sends status 200 with a web page' },
    { fault: 'errorEvent', label: 'sends an error as its first event' },
  ],
}

/** An API that the upstream of the page speaks. */
export interface Api {
  label: string
  dialect: DialectName
  contentType: string
  pathOf(model: string): string
}

export const apis: Readonly<Record<string, Api>> = {
  openai: {
    label: 'OpenAI chat (server-sent events)',
    dialect: 'openaiChat',
    contentType: 'text/event-stream',
    pathOf: () => '/v1/chat/completions',
  },
  gemini: {
    label: 'Gemini (server-sent events)',
    dialect: 'gemini',
    contentType: 'text/event-stream',
    pathOf: (model) => `/v1beta/models/${model}:streamGenerateContent?alt=sse`,
  },
  ollama: {
    label: 'Ollama (NDJSON)',
    dialect: 'ollama',
    contentType: 'application/x-ndjson',
    pathOf: () => '/api/chat',
  },
}
