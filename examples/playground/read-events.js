/**
 * Reads a response of one of the page's APIs, event by event: server-sent events, or lines of JSON.
 *
 * @param {Response} response
 * @returns an iterator over `heartbeat`, and events as `{ text, error, isLast }`
 */
export async function* readEvents(response) {
  const isLines = response.headers.get('content-type')?.startsWith('application/x-ndjson')
  let rest = ''
  for await (const piece of textOf(response.body)) {
    rest += piece
    const blocks = rest.split(isLines ? '\n' : '\n\n')
    rest = blocks.pop()
    if (!isLines) {
      // A comment may stand in front of an event whose rest has not come yet.
      blocks.push(...(rest.match(/^:.*\n/gm) ?? []))
      rest = rest.replace(/^:.*\n/gm, '')
    }
    for (const block of blocks) yield* eventsOf(block, isLines)
  }
}

function* eventsOf(block, isLines) {
  const lines = block.split('\n')
  for (const line of lines) if (line.startsWith(':')) yield 'heartbeat'
  const data = isLines
    ? block.trim()
    : lines
        .filter((line) => line.startsWith('data:'))
        .map((line) => line.slice(5).trim())
        .join('\n')
  if (data === '') return
  yield data === '[DONE]' ? { isLast: true } : meaningOf(JSON.parse(data))
}

/** The meaning of an event of any API. */
function meaningOf({ error, choices, candidates, message, done }) {
  if (error) return { error: errorOf({ error }), isLast: true }
  const [candidate] = candidates ?? []
  return {
    text:
      choices?.[0]?.delta?.content ??
      message?.content ??
      candidate?.content?.parts?.map(({ text }) => text).join('') ??
      '',
    isLast: done === true || candidate?.finishReason !== undefined,
  }
}

/** The message of an error, as an object or as a string. */
export function errorOf({ error }) {
  return error?.message ?? String(error)
}

async function* textOf(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader()
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return
    yield value
  }
}
