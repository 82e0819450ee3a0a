import type { AnswerShape } from './answers.js'

type Json = Readonly<Record<string, unknown>>

/** One event, parsed; `{}` for data that is the end itself and not JSON. */
export interface ParsedEvent {
  readonly data: string
  readonly json: Json
}

/** How the streams of one API end, by the words of its own documentation. */
export interface EndingRules {
  readonly framing: 'sse' | 'ndjson'
  /** The end of a good answer, as a message names it. */
  readonly lastWord: string
  /** Returns which event ends a good answer, or -1. */
  endOf(events: readonly ParsedEvent[]): number
  /** Returns the error that an event, or the body of an error status, reports. */
  errorIn(json: Json): { message: unknown; code: unknown } | undefined
  /** The body of an error status, as a message shows it. */
  readonly errorBody: string
  /** Whether its clients find the message in the body of an error status. */
  isErrorBody(json: Json): boolean
}

/** For an API whose errors are objects, with a code under a name of its own. */
function errorObjects(codeName: string): Pick<EndingRules, 'errorBody' | 'isErrorBody' | 'errorIn'> {
  return {
    errorBody: '{"error": {"message"}}',
    isErrorBody: ({ error }) => typeof Object(error).message === 'string',
    errorIn: ({ error }) => {
      const { message = error, [codeName]: code } = Object(error) as Record<string, unknown>
      return error ? { message, code } : undefined
    },
  }
}

const indexOf = (isEnd: (event: ParsedEvent) => boolean) => (events: readonly ParsedEvent[]) =>
  events.findIndex(isEnd)

/** Gemini's has no last event: it is whole once each candidate has ended. */
function isFinished(events: readonly ParsedEvent[]): boolean {
  const ended = new Map<unknown, boolean>()
  for (const { candidates } of events.map(({ json }) => json)) {
    for (const candidate of Array.isArray(candidates) ? candidates : []) {
      const { index = 0, finishReason } = Object(candidate) as Record<string, unknown>
      ended.set(index, Boolean(finishReason))
    }
  }
  return ended.size > 0 && ![...ended.values()].includes(false)
}

export const endingRules: Readonly<Record<AnswerShape, EndingRules>> = {
  openai: {
    framing: 'sse',
    lastWord: '[DONE]',
    endOf: indexOf(({ data }) => data === '[DONE]'),
    ...errorObjects('code'),
  },
  openaiResponses: {
    framing: 'sse',
    lastWord: 'response.completed',
    endOf: indexOf(({ json }) => json.type === 'response.completed' || json.type === 'response.incomplete'),
    ...errorObjects('code'),
    errorIn: ({ type, error, message, code, response }) => {
      // An event of the type error is flat; the body of an error status, and a failed response, hold an object.
      if (type === 'error')
        return { message: Object(error).message ?? message, code: Object(error).code ?? code }
      return errorObjects('code').errorIn({ error: error ?? Object(response).error })
    },
  },
  anthropic: {
    framing: 'sse',
    lastWord: 'message_stop',
    endOf: indexOf(({ json }) => json.type === 'message_stop'),
    ...errorObjects('type'),
  },
  gemini: {
    framing: 'sse',
    lastWord: 'finishReason',
    endOf: (events) => (isFinished(events) ? events.length - 1 : -1),
    ...errorObjects('status'),
  },
  ollama: {
    framing: 'ndjson',
    lastWord: '"done": true',
    endOf: indexOf(({ json }) => json.done === true),
    errorBody: '{"error"}',
    isErrorBody: ({ error }) => typeof error === 'string',
    errorIn: ({ error }) => (error ? { message: error, code: undefined } : undefined),
  },
}
