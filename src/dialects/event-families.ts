import type { SSEEvent } from '../framing/sse/encode.js'
import { type EventRole, jsonOf, type StreamDialect } from './dialect.js'
import { openaiErrorBody, plain } from './plain.js'

interface Family {
  name: string
  /** An event that belongs to it, by its `type`, its `object` or its name. */
  member: RegExp
  /** Its last event. */
  last: RegExp
  /** Whether its client fails for an error only in an event without a name. */
  isUnnamed?: boolean
}

/**
 * Streams that are not of a dialect's own, but are known by their last event.
 *
 * @see https://platform.openai.com/docs/api-reference/images-streaming
 * @see https://platform.openai.com/docs/api-reference/audio/transcript-text-done-event
 * @see https://platform.openai.com/docs/api-reference/assistants-streaming/events
 * @see https://docs.mistral.ai/agents/introduction
 */
const families: readonly Family[] = [
  {
    name: 'openai-images',
    member: /^image_(generation|edit)\.(partial_image|completed)$/,
    last: /^image_(generation|edit)\.completed$/,
  },
  {
    name: 'openai-transcriptions',
    member: /^transcript\.text\.(delta|segment|done)$/,
    last: /^transcript\.text\.done$/,
  },
  {
    name: 'openai-assistants',
    member: /^thread\.(created|run|message|run\.step)(\.[a-z_]+)*$/,
    last: /^done$|^thread\.run\.(completed|incomplete|requires_action|failed|cancelled|expired)$/,
  },
  {
    name: 'mistral-conversations',
    member: /^conversation\.response\.[a-z]+$/,
    last: /^conversation\.response\.done$/,
    isUnnamed: true,
  },
]

const dialects = families.map((family) => ({ family, dialect: dialectOf(family) }))

/** The dialect of the family that an event belongs to. */
export function familyOf(event: SSEEvent): StreamDialect | undefined {
  const kind = kindOf(event)
  return dialects.find(({ family }) => family.member.test(kind))?.dialect
}

/** The kind that an event claims to be. */
function kindOf({ event, data }: SSEEvent): string {
  const { type, object } = jsonOf(data) ?? {}
  return String([event, type, object].find((kind) => typeof kind === 'string' && kind !== '') ?? '')
}

function dialectOf({ name, last, isUnnamed = false }: Family): StreamDialect {
  return {
    name,
    needsTerminal: true,
    errorBody: openaiErrorBody,
    follow() {
      const any = plain.follow()
      let complete = false
      return {
        get complete() {
          return complete
        },
        observe(event): EventRole {
          const kind = kindOf(event)
          if (last.test(kind)) complete = true
          if (kind === 'error') return 'error'
          return any.observe(event)
        },
        closing: () => [],
        failing: (error, message) =>
          any.failing(error, message)?.map(({ event, data }) => (isUnnamed ? { data } : { event, data })),
      }
    },
  }
}
