// Events to the bytes on the wire: a string that is not written is never put together.
import { encodeEvent } from '../../src/framing/sse/encode.ts'

const chunkOf = (content) => ({
  id: 'chatcmpl-bench',
  object: 'chat.completion.chunk',
  created: 1,
  model: 'bench',
  choices: [{ index: 0, delta: { content }, finish_reason: null }],
})
const words = { ascii: 'The quick brown fox jump', cjk: '流式传输的事件在代理中不会丢失任何一个字符也不会' }
const wire = Buffer.alloc(1_024)

/** One after the other, so that nothing about them is a constant. */
function* forever(values) {
  for (let at = 0; ; at = (at + 1) % values.length) yield values[at]
}

function toWire(encode, values) {
  const next = forever(values)
  return () => wire.write(encode(next.next().value))
}

export const comparisons = Object.entries(words).flatMap(([text, content]) => {
  const objects = Array.from({ length: 64 }, (_, number) => chunkOf(`${content}${number}`))
  const strings = objects.map((object) => JSON.stringify(object))
  return [
    {
      title: `encode a string, ${text}`,
      plain: toWire((data) => `data: ${data}\n\n`, strings),
      candidates: { encodeEvent: toWire((data) => encodeEvent({ data }), strings) },
    },
    {
      title: `encode an object, ${text}`,
      plain: toWire((data) => `data: ${JSON.stringify(data)}\n\n`, objects),
      candidates: { encodeEvent: toWire((data) => encodeEvent({ data }), objects) },
    },
  ]
})
