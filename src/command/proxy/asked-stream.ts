import type { IncomingMessage } from 'node:http'
import type { StreamDialect } from '../../dialects/dialect.js'
import { dialects, selectDialect } from '../../dialects/index.js'
import { BodyMembers } from './body-members.js'

const ollamaPath = /\/api\/(chat|generate)\/?(\?|$)/
const ollamaProgressPath = /\/api\/(pull|push|create)\/?(\?|$)/
/** Of a model on its way: its last line is like all others, and it takes as long as it takes. */
const ollamaProgress: StreamDialect = { ...dialects.ollama, needsTerminal: false, isUnhurried: true }

/** A request's wishes for its stream. */
export interface AskedStream {
  /** `plain`, if nothing says which API it is of. */
  readonly dialect: StreamDialect
  readonly model: string | undefined
  /** Whether it is sure that the client wants a stream: heartbeats may begin before the upstream responds. */
  readonly isSure: boolean
}

/** Reads a request's body while it passes by; settles when it has said all that matters. */
export async function whatIsAsked(request: IncomingMessage): Promise<AskedStream> {
  const dialect = dialectOf(request)
  const isOllama = ollamaPath.test(request.url ?? '')
  // Nothing else of a body is looked for, so nothing else is looked at.
  if (request.method !== 'POST' || (dialect === dialects.plain && !isOllama)) {
    return { dialect, model: undefined, isSure: false }
  }
  const { stream, model, names } = await membersOf(request)
  if (isOllama && dialect === dialects.plain) {
    const isChat = model !== undefined && (names.has('messages') || names.has('prompt'))
    // Ollama streams unless the request says otherwise.
    return { dialect: isChat ? dialects.ollama : dialect, model, isSure: isChat && stream !== false }
  }
  if (dialect === ollamaProgress) return { dialect, model, isSure: false }
  return { dialect, model, isSure: stream === true || /[?&]alt=sse(&|$)/.test(request.url ?? '') }
}

/** The API of a request, by its path and headers. */
export function dialectOf({ method, url = '', headers }: IncomingMessage): StreamDialect {
  const dialect = selectDialect(undefined, url, { method, headers, body: undefined })
  return dialect === dialects.ollama && ollamaProgressPath.test(url) ? ollamaProgress : dialect
}

function membersOf(request: IncomingMessage): Promise<BodyMembers> {
  const members = new BodyMembers()
  // A compressed body says nothing.
  if (request.headers['content-encoding'] !== undefined) return Promise.resolve(members)
  return new Promise((resolve) => {
    const finish = () => {
      request.off('data', look).off('end', finish).off('close', finish)
      resolve(members)
    }
    const look = (bytes: Buffer) => {
      members.push(bytes)
      if (members.isOver) finish()
    }
    request.on('data', look).once('end', finish).once('close', finish)
  })
}
