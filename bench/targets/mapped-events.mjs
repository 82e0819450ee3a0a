import { StringDecoder } from 'node:string_decoder'
import { toChunk } from './to-chunk.mjs'

const content =
  /^\{"id":"[^"\\]+","object":"[^"\\]+","created":\d+,"model":"[^"\\]+","choices":\[\{"index":0,"delta":\{"content":"[^"\\]+"\},"finish_reason":null\}\]\}$/

/** The events of one stream as a map makes them: only a look at those tells whether they are complete. A map of chat chunks alone. */
export class MappedEvents {
  events = 0
  isComplete = false
  #decoder = new StringDecoder()
  #rest = ''

  take(bytes) {
    const lines = (this.#rest + this.#decoder.write(bytes)).split('\n')
    this.#rest = lines.pop()
    let out = ''
    for (const line of lines) {
      if (!line.startsWith('data: ')) continue
      this.events++
      const mapped = toChunk({ id: undefined, event: undefined, data: line.slice(6) })
      for (const { data } of Array.isArray(mapped) ? mapped : [mapped]) {
        this.#look(data)
        out += `data: ${data}\n\n`
      }
    }
    return Buffer.byteLength(out) > out.length ? Buffer.from(out) : out
  }

  #look(data) {
    if (content.test(data)) return
    if (data === '[DONE]') this.isComplete = true
    else if ('error' in JSON.parse(data)) throw new Error(data)
  }
}
