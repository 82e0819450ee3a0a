/** An event as a page sees it. */
export interface PageEvent {
  type: string
  data: string
  lastEventId: string
}

/**
 * What an `EventSource` makes of a body, step by step as the specification has it: it shares nothing with the parser that
 * unhang uses.
 *
 * @see https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
 */
export function readAsPage(body: Uint8Array): PageEvent[] {
  const events: PageEvent[] = []
  let data = ''
  let type = ''
  let lastEventId = ''
  // The decoder removes one byte order mark. Text after the last line end is not a line yet.
  const lines = new TextDecoder()
    .decode(body)
    .split(/\r\n|\r|\n/)
    .slice(0, -1)
  for (const line of lines) {
    if (line === '') {
      if (data !== '') events.push({ type: type || 'message', data: data.slice(0, -1), lastEventId })
      data = type = ''
      continue
    }
    const [, field = line, value = ''] = /^([^:]*): ?(.*)$/s.exec(line) ?? []
    if (field === 'data') data += `${value}\n`
    else if (field === 'event') type = value
    else if (field === 'id' && !value.includes('\0')) lastEventId = value
  }
  return events
}
