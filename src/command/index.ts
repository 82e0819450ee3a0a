import { publicText } from '../diagnostics/describe-error.js'
import { type Command, helpOf, helpWidth, readCommandLine, wrapped } from './command.js'
import { doctor } from './doctor.js'
import type { Flags } from './flags.js'
import { gauntlet } from './gauntlet.js'
import { ownVersion } from './own-version.js'
import { proxy } from './proxy.js'
import { upstream } from './upstream.js'

const commands = [doctor, gauntlet, proxy, upstream] as unknown as readonly Command<Flags>[]

/**
 * Runs the command that a command line names, and prints what it has to say.
 *
 * @returns what the process exits with: 1 for a finding, and for a command line that was refused
 */
export async function runCommandLine(args: readonly string[]): Promise<number> {
  try {
    return await run(args)
  } catch (error) {
    // A URL that was not taken may hold a key.
    console.error(publicText((error as Error).message))
    return 1
  }
}

async function run([name, ...args]: readonly string[]): Promise<number> {
  if (name === '--version' || name === '-v') return print(await ownVersion())
  if (name === '--help' || name === '-h') return print(overview())
  const command = commands.find((each) => each.name === name)
  if (!command) {
    const problem = name === undefined ? 'Missing command.' : `There is no ${name}.`
    throw new TypeError(`${problem} unhang --help lists the commands.`)
  }
  if (args.includes('--help') || args.includes('-h')) return print(helpOf(command))
  const { values, argument } = readCommandLine(command, args)
  return command.run(values, argument)
}

function print(text: string): number {
  console.log(text)
  return 0
}

function overview(): string {
  const width = Math.max(...commands.map(({ name }) => name.length))
  const lines = commands.flatMap(({ name, summary }) => {
    const [first = '', ...rest] = wrapped(summary, helpWidth - width - 4)
    return [`  ${name.padEnd(width)}  ${first}`, ...rest.map((line) => `${' '.repeat(width + 4)}${line}`)]
  })
  const more =
    'unhang COMMAND --help shows its flags. Each flag can be set in the environment: --key as UNHANG_KEY.'
  return ['Usage: unhang COMMAND', '', ...lines, '', more].join('\n')
}
