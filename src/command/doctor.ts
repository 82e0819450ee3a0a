import { type CheckResult, found, ok } from '../doctor/diagnosis.js'
import { type Diagnosis, examine } from '../doctor/doctor.js'
import { describeFindings, describeResult } from '../doctor/report.js'
import { scriptByModel, startUpstream } from '../testing/index.js'
import type { Command } from './command.js'
import { port, text, toggle } from './flags.js'
import { runGauntlet, type TrialResult } from './gauntlet/run.js'
import { portIsTaken } from './gauntlet/stage.js'

const flags = {
  key: text('KEY', 'sent as "Authorization: Bearer KEY"'),
  model: text('MODEL', 'default: the first one that URL/models names'),
  faults: toggle('plays the upstream, too, and breaks it: the short form of unhang gauntlet'),
  upstreamPort: port('where the server has its upstream; with --faults', 8080),
  json: toggle('prints the diagnosis as JSON, and nothing else'),
}

/** `unhang doctor`: looks for the causes of hang-ups in a running endpoint. */
export const doctor: Command<typeof flags> = {
  name: 'doctor',
  summary:
    'Probes a running OpenAI-compatible endpoint for causes of hang-ups, and exits with 1 if it finds one.',
  argument: { name: 'URL', help: 'the base URL, say http://127.0.0.1:3000/v1' },
  flags,
  async run({ key, model, faults, upstreamPort, json }, url) {
    const announce = json ? undefined : console.log
    const onResult = json ? undefined : (result: CheckResult) => console.log(describeResult(result))
    const shown = { announce, onResult }
    const diagnosis = faults
      ? await examineWithFaults(url, { key, model, upstreamPort, ...shown })
      : await examine(url, { key, model, ...shown })
    console.log(json ? JSON.stringify(diagnosis, null, 2) : describeFindings(diagnosis))
    return diagnosis.checks.some(({ outcome }) => outcome === 'finding') ? 1 : 0
  },
}

interface FaultOptions {
  key: string | undefined
  model: string | undefined
  upstreamPort: number
  announce: ((text: string) => void) | undefined
  onResult: ((result: CheckResult) => void) | undefined
}

/** The sunny path, with an upstream that is ours, then what becomes of its faults. */
async function examineWithFaults(url: string, options: FaultOptions): Promise<Diagnosis> {
  const { key, upstreamPort, announce, onResult } = options
  const diagnosis = await withUpstream(upstreamPort, () => examine(url, options))
  const checks = [...diagnosis.checks]
  announce?.('')
  // Nothing would get through to the upstream.
  if (checks.some(({ check }) => check === 'reachable')) return diagnosis
  await runGauntlet({
    url,
    key,
    upstreamPort,
    shape: 'openai',
    model: options.model ?? diagnosis.model,
    deadlines: quick,
    isQuick: true,
    only: [],
    skip: [],
    announce,
    onResult: (trial) => {
      const result = toCheck(trial)
      checks.push(result)
      onResult?.(result)
    },
  })
  return { ...diagnosis, checks }
}

/** The short form waits for no deadline. */
const quick = {
  firstByteMs: 120_000,
  firstEventMs: 120_000,
  inactivityMs: 60_000,
  upstreamStallMs: 60_000,
  totalMs: 300_000,
  clientStallMs: 30_000,
}

async function withUpstream<T>(upstreamPort: number, use: () => Promise<T>): Promise<T> {
  const words = Array.from({ length: 60 }, (_, index) => `${index + 1}\n`)
  const upstream = await startUpstream(scriptByModel({ words, wordMs: 15 }), { port: upstreamPort }).catch(
    (error) => {
      throw portIsTaken(error, upstreamPort)
    },
  )
  try {
    return await use()
  } finally {
    await upstream[Symbol.asyncDispose]()
  }
}

function toCheck({ mode, name, given, verdict, must, passed, evidence, problem }: TrialResult): CheckResult {
  const check = `${mode} ${name}`
  const seen = `${verdict}: ${evidence}${problem === undefined ? '' : `; ${problem}`}`
  if (passed) return ok(check, seen)
  const cause = {
    finding: `${given} The client must get: ${must.join(' or ')}.`,
    fix: 'guardStreams() of unhang, or a streaming route of it.',
  }
  return found(check, cause, seen)
}
