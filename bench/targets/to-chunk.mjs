const head = { id: 'chatcmpl-bench', object: 'chat.completion.chunk', created: 1, model: 'bench' }
const chunk = (delta, reason) =>
  JSON.stringify({ ...head, choices: [{ index: 0, delta, finish_reason: reason }] })
// All chunks of text are the same but for the text, whose JSON is handed on as written: as in the Qolaba example.
const [before, after] = chunk({ content: '{text}' }, null).split('"{text}"')
const end = [{ data: chunk({}, 'stop') }, { data: '[DONE]' }]
const plainOutput = /^\{"output": ?("[^"\\\p{Cc}]+")\}$/u

/** The map of a user: what the client gets for one event of the upstream. */
export function toChunk({ data }) {
  const written = plainOutput.exec(data)?.[1]
  if (written) return { data: before + written + after }
  const { output } = JSON.parse(data)
  return output === null ? end : { data: before + JSON.stringify(output) + after }
}
