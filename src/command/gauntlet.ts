import { maskOf, secretsOf } from '../doctor/quote.js'
import { type AnswerShape, answers } from '../testing/index.js'
import type { Command } from './command.js'
import { choice, durationMs, port, text, texts, toggle } from './flags.js'
import { describeReport, describeTrial, describeWire, toJson } from './gauntlet/report.js'
import { runGauntlet } from './gauntlet/run.js'
import { ownVersion } from './own-version.js'

const shapes = Object.keys(answers) as AnswerShape[]
const off = Number.POSITIVE_INFINITY

const flags = {
  upstreamPort: port('where the proxy under test has its upstream; the gauntlet plays it', 8080),
  api: choice('API', `${shapes.join(', ')}`, shapes, 'openai'),
  key: text('KEY', 'what the proxy wants as "Authorization: Bearer KEY"'),
  model: text('MODEL', 'the model to ask for; default: gpt-4o-mini'),
  firstByteMs: durationMs('how long the proxy waits for the first byte', 120_000, true),
  firstEventMs: durationMs('how long it waits for the first piece of the answer', off, true),
  inactivityMs: durationMs('how long it waits for the next byte', 60_000, true),
  upstreamStallMs: durationMs('how long it waits for the next piece of the answer', off, true),
  totalMs: durationMs('how long a stream may take', 300_000, true),
  clientStallMs: durationMs('how long it waits for a client that reads nothing', 30_000, true),
  quick: toggle('leaves out what waits for a deadline'),
  only: texts('FM-NN', 'makes the trials of this failure mode only; may be repeated'),
  skip: texts('FM-NN', 'leaves out the trials of this failure mode; may be repeated'),
  verbose: toggle('shows the bytes that the client got'),
  json: toggle('prints the report as JSON, and nothing else'),
}

/** `unhang gauntlet`: drives a proxy through the failure modes. */
export const gauntlet: Command<typeof flags> = {
  name: 'gauntlet',
  summary:
    'Drives a proxy, in any language, through the failure modes of its upstream and its client. Exits with 1 if one fails.',
  argument: {
    name: 'URL',
    help: 'the base URL of the proxy, say http://127.0.0.1:3000/v1',
  },
  flags,
  more: 'The deadlines are those of the proxy under test; false: it has none, and what waits for it is left out.',
  async run(values, url) {
    const { api, key, model = 'gpt-4o-mini', upstreamPort, quick, only, skip, verbose, json } = values
    checkModes('--only', only)
    checkModes('--skip', skip)
    const mask = maskOf([key ?? '', ...(URL.canParse(url) ? secretsOf(new URL(url)) : [])])
    const report = await runGauntlet({
      url,
      shape: api,
      model,
      key,
      upstreamPort,
      deadlines: values,
      isQuick: quick,
      only,
      skip,
      ...(json
        ? {}
        : {
            announce: console.log,
            onResult: (result) => {
              console.log(describeTrial(result))
              if (verbose && result.client) console.log(describeWire(result.client, mask))
            },
          }),
    })
    if (json) console.log(toJson(report, { isVerbose: verbose, mask }))
    else console.log(describeReport(report, await ownVersion(), new Date()))
    return report.results.every(({ passed }) => passed) ? 0 : 1
  },
}

function checkModes(flag: string, modes: readonly string[]): void {
  const wrong = modes.find((mode) => !/^FM-\d\d$/.test(mode))
  if (wrong !== undefined)
    throw new TypeError(`${flag} must be a number of docs/FAILURE-MODES.md, say FM-15; got ${wrong}`)
}
