import { Agent, request } from 'node:http'
import { chatAnswer, textOf } from '../chat.js'
import { wire } from '../wire.js'

/** Clients in a process of their own: this many streams at once. */
const [url = '', count = '0'] = process.argv.slice(2)
const agent = new Agent({ maxSockets: Number.POSITIVE_INFINITY })
const whole = chatAnswer(...Array.from({ length: 20 }, (_, at) => `${at} `))
const expected = textOf(whole.map((event) => (typeof event === 'string' ? event : JSON.stringify(event))))

function one(): Promise<string> {
  return new Promise((resolve) => {
    const call = request(`${url}/v1/chat/completions`, { method: 'POST', agent }, (response) => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (piece) => {
        text += piece
      })
      response.on('error', (error) => resolve(error.message))
      response.on('end', () => resolve(outcomeOf(text)))
    })
    call.on('error', (error) => resolve(error.message))
    call.end('{"model":"test-model","messages":[],"stream":true}')
  })
}

function outcomeOf(text: string): string {
  const data = [...text.matchAll(/^data: (.*)$/gm)].map(([, json]) => json ?? '')
  if (data.at(-1) !== '[DONE]') return `ends with ${data.at(-1)}`
  return textOf(data) === expected ? 'whole' : `has ${textOf(data)} of ${wire(expected)}`
}

const outcomes: Record<string, number> = {}
for (const outcome of await Promise.all(Array.from({ length: Number(count) }, one))) {
  outcomes[outcome] = (outcomes[outcome] ?? 0) + 1
}
console.log(JSON.stringify(outcomes))
process.exit()
