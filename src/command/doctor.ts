import type { CheckResult } from '../doctor/diagnosis.js'
import { examine } from '../doctor/doctor.js'
import { describeFindings, describeResult } from '../doctor/report.js'
import type { Command } from './command.js'
import { text, toggle } from './flags.js'

const flags = {
  key: text('KEY', 'sent as "Authorization: Bearer KEY"'),
  model: text('MODEL', 'default: the first one that URL/models names'),
  json: toggle('prints the diagnosis as JSON, and nothing else'),
}

/** `unhang doctor`: looks for the causes of hang-ups in a running endpoint. */
export const doctor: Command<typeof flags> = {
  name: 'doctor',
  summary:
    'Probes a running OpenAI-compatible endpoint for causes of hang-ups, and exits with 1 if it finds one.',
  argument: { name: 'URL', help: 'the base URL, say http://127.0.0.1:3000/v1', missing: 'Which URL?' },
  flags,
  async run({ key, model, json }, url) {
    const announce = json ? undefined : console.log
    const onResult = json ? undefined : (result: CheckResult) => console.log(describeResult(result))
    const diagnosis = await examine(url, { key, model, announce, onResult })
    console.log(json ? JSON.stringify(diagnosis, null, 2) : describeFindings(diagnosis))
    return diagnosis.checks.some(({ outcome }) => outcome === 'finding') ? 1 : 0
  },
}
