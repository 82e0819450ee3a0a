import { describeText } from '../diagnostics/describe-error.js'
import {
  answers,
  type FaultName,
  faults,
  scriptByModel,
  startUpstream,
  type UpstreamScript,
} from '../testing/index.js'
import type { Command } from './command.js'
import { choice, durationMs, port, text, toggle } from './flags.js'
import { untilStopped } from './until-stopped.js'

const names = ['all', ...(Object.keys(faults) as FaultName[])] as const

const flags = {
  port: port('the port; 0 is a free one', 8080),
  host: text('ADDRESS', 'the address; default: 127.0.0.1'),
  fault: choice('NAME', 'all, or the one fault of every answer', names, 'all'),
  words: text('TEXT', 'what each streamed answer says before its fault, one word at a time'),
  wordMs: durationMs('the time between two words', 150),
  verbose: toggle('prints a line for each request'),
}

/** `unhang upstream`: the fault kit as a server. */
export const upstream: Command<typeof flags> = {
  name: 'upstream',
  summary: 'Serves an upstream that fails in the way that you choose, to point a proxy at.',
  flags,
  more: [
    `It speaks ${Object.values(answers)
      .map(({ path }) => path.replace(/\?.*/, '').replace('test-model', 'MODEL'))
      .join(', ')}.`,
    'With --fault all, the model of a request says the fault: {"model": "fault:resetMidStream", "stream": true}.',
    ...inLines('Faults:', names.slice(1)),
  ].join('\n'),
  async run({ port, host, fault, words, wordMs, verbose }) {
    const script = scriptByModel({ fault, words: words?.match(/\s*\S+/g) ?? [], wordMs })
    const served: UpstreamScript = (exchange) => {
      // It may run for days: the exchanges that the kit remembers for a test would pile up.
      server.exchanges.length = 0
      if (!verbose) return script(exchange)
      const [line = ''] = exchange.head.split('\r\n', 1)
      console.log(`${describeText(line)} model ${describeText(modelOf(exchange.body))}`)
      return script(exchange)
    }
    await using server = await startUpstream(served, { port, host })
    console.log(
      `Listening on ${server.url}, fault: ${fault === 'all' ? 'by the model, as in fault:truncated' : fault}`,
    )
    await untilStopped()
    return 0
  },
}

function modelOf(body: string): string | undefined {
  return /"model"\s*:\s*"([^"]*)"/.exec(body)?.[1]
}

/** Words in lines that fit a screen. */
function inLines(first: string, words: readonly string[]): string[] {
  const lines = [first]
  for (const word of words) {
    const last = lines.at(-1) ?? ''
    if (last.length + 1 + word.length > 100) lines.push(`  ${word}`)
    else lines[lines.length - 1] = `${last} ${word}`
  }
  return lines
}
