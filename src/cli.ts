#!/usr/bin/env node
import { readFile } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import type { CheckResult } from './doctor/diagnosis.js'
import { examine } from './doctor/doctor.js'
import { describeFindings, describeRefusal, describeResult } from './doctor/report.js'

const usage = `Usage: unhang doctor URL [--key KEY] [--model MODEL] [--json]
       unhang --version

Probes a running OpenAI-compatible endpoint for causes of hang-ups, and exits with 1 if it finds one.

  URL      the base URL, say http://127.0.0.1:3000/v1
  --key    sent as "Authorization: Bearer KEY"; default: the variable UNHANG_KEY
  --model  default: the first one that URL/models names
  --json   prints the diagnosis as JSON, and nothing else`

async function ownVersion(): Promise<string> {
  const file = await readFile(new URL('../package.json', import.meta.url), 'utf8')
  return (JSON.parse(file) as { version: string }).version
}

const options = {
  key: { type: 'string' },
  model: { type: 'string' },
  json: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
  version: { type: 'boolean', short: 'v' },
} as const

function parse(args: string[]) {
  try {
    return parseArgs({ args, allowPositionals: true, options })
  } catch (error) {
    // Its second sentence is advice for something else.
    throw refused((error as Error).message.replace(/\. To specify .*/s, '.'))
  }
}
/** @returns what the process exits with */
async function main(args: string[]): Promise<number> {
  const { values, positionals } = parse(args)
  const [command, url, ...more] = positionals
  if (values.help) {
    console.log(usage)
    return 0
  }
  if (values.version) {
    console.log(await ownVersion())
    return 0
  }
  if (command !== 'doctor') throw refused(command === undefined ? 'What to do?' : `There is no ${command}.`)
  if (url === undefined) throw refused('Which URL?')
  if (more.length > 0) throw refused('One URL at a time; a key goes after --key.')
  const { key = process.env.UNHANG_KEY, model } = values
  const announce = values.json ? undefined : console.log
  const onResult = values.json ? undefined : (result: CheckResult) => console.log(describeResult(result))
  const diagnosis = await examine(url, { key, model, announce, onResult })
  console.log(values.json ? JSON.stringify(diagnosis, null, 2) : describeFindings(diagnosis))
  return diagnosis.checks.some(({ outcome }) => outcome === 'finding') ? 1 : 0
}

function refused(why: string): TypeError {
  return new TypeError(`${why}\n\n${usage}`)
}

main(process.argv.slice(2)).then(
  (status) => {
    process.exitCode = status
  },
  (error: Error) => {
    console.error(describeRefusal(error))
    process.exitCode = 2
  },
)
