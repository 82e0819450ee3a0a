/** A chunk of a chat-completions stream. */
export function chatChunk(content: string, finishReason: string | null = null, index = 0) {
  return {
    id: 'chatcmpl-1',
    object: 'chat.completion.chunk',
    created: 1,
    model: 'test-model',
    choices: [{ index, delta: content === '' ? {} : { content }, finish_reason: finishReason }],
  }
}

/** A whole good answer: its text in pieces, the finish chunk, and `[DONE]`. */
export function chatAnswer(...pieces: string[]): unknown[] {
  return [...pieces.map((piece) => chatChunk(piece)), chatChunk('', 'stop'), '[DONE]']
}

/** Whether a heartbeat came in it: a comment, or a chunk that says nothing. */
export const heartbeatPattern = /^:$|^data: .*"delta":\{"content":""\},"finish_reason":null\}\]\}$/m

/** The text of the events of a chat-completions stream. */
export function textOf(data: readonly string[]): string {
  return data
    .filter((json) => json !== '[DONE]')
    .map((json) => JSON.parse(json).choices?.[0]?.delta?.content ?? '')
    .join('')
}

/** The mistake in a stream that should have failed with this code: exactly one error event, and last. */
export function failureOf(data: readonly string[]): { code: string; type: string; message: string } {
  const errors = data
    .map((json) => (json === '[DONE]' ? json : JSON.parse(json)))
    .filter((event) => event.error)
  if (errors.length !== 1)
    throw new Error(`expected one error event, got ${errors.length}:\n${data.join('\n')}`)
  if (data.includes('[DONE]')) throw new Error('[DONE] says complete: it must not stand beside an error')
  if (data.at(-1) !== JSON.stringify(errors[0])) throw new Error('the error event must be the last')
  return errors[0].error
}
