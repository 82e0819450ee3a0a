import { createParser, type EventSourceMessage, type EventSourceParser } from 'eventsource-parser'

export type { EventSourceMessage }

const dataField = 'data: '

/**
 * Reads events one by one, each from its whole text.
 *
 * @see https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
 */
export class EventParser {
  /** Many streams need none: see `parse`. */
  #parser: EventSourceParser | undefined
  #event: EventSourceMessage | undefined

  /** @param text one event with its blank line; `undefined` for a block without data, such as comments */
  parse(text: string): EventSourceMessage | undefined {
    // At the pace of tokens nearly every event is one line of data.
    if (isOneDataLine(text))
      return { id: undefined, event: undefined, data: text.slice(dataField.length, -2) }
    this.#parser ??= this.#create()
    this.#event = undefined
    this.#parser.feed(text.includes('\r') ? text.replace(/\r\n?/g, '\n') : text)
    return this.#event
  }

  #create(): EventSourceParser {
    const parser = createParser({
      onEvent: (event) => {
        this.#event = event
      },
    })
    // It takes the first three characters for the bytes of a byte order mark.
    parser.feed('')
    return parser
  }
}

function isOneDataLine(text: string): boolean {
  const end = text.length - 2
  if (!text.startsWith(dataField) || text.indexOf('\n') !== end) return false
  return text.charCodeAt(end + 1) === 10 && !text.includes('\r')
}
