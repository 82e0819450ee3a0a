// How the peers read the upstream: node:http and eventsource-parser, so that what differs is how they write.
import { createParser } from 'eventsource-parser'
import { callUpstream } from './call-upstream.mjs'

/** Texts of an answer as they come, several for each read; `null` at the end. */
export async function* readOutputs(upstreamPort, path) {
  const upstream = await callUpstream(upstreamPort, path)
  const decoder = new TextDecoder()
  let outputs = []
  const parser = createParser({ onEvent: ({ data }) => outputs.push(JSON.parse(data).output) })
  for await (const bytes of upstream) {
    parser.feed(decoder.decode(bytes, { stream: true }))
    const read = outputs
    outputs = []
    yield read
  }
}

const head = { id: 'chatcmpl-bench', object: 'chat.completion.chunk', created: 1, model: 'bench' }

/** The chunks that a text, or the end, becomes. */
export function chatChunks(output) {
  if (output !== null) return [chatChunk({ content: output }, null)]
  return [chatChunk({}, 'stop'), '[DONE]']
}

function chatChunk(delta, reason) {
  return { ...head, choices: [{ index: 0, delta, finish_reason: reason }] }
}

/** The same as one `data` each. */
export function* chatData(output) {
  for (const chunk of chatChunks(output)) yield typeof chunk === 'string' ? chunk : JSON.stringify(chunk)
}

/** As a stream of events, for interfaces that take one. */
export async function* readChatData(upstreamPort, path) {
  for await (const outputs of readOutputs(upstreamPort, path)) {
    for (const output of outputs) yield* chatData(output)
  }
}
