import { parseArgs } from 'node:util'
import { nearest } from '../errors/bad-input.js'
import type { Flags, Values } from './flags.js'

/** One command of `unhang`. */
export interface Command<F extends Flags> {
  readonly name: string
  /** The purpose of the command, in one sentence. */
  readonly summary: string
  /** The one word that it takes besides flags, such as a URL. Not set: it takes none. */
  readonly argument?: { readonly name: string; readonly help: string }
  readonly flags: F
  /** More lines of the help, below the flags. */
  readonly more?: string
  /** @returns what the process exits with */
  run(values: Values<F>, argument: string): Promise<number>
}

/** The maximum width of the help. */
export const helpWidth = 100

/**
 * Reads the flags of a command, from the command line first, then from the environment: `--upstream-port` is also
 * `UNHANG_UPSTREAM_PORT`.
 *
 * @throws TypeError, of one line, for anything that the command does not take
 */
export function readCommandLine<F extends Flags>(
  { flags, argument, name }: Command<F>,
  args: readonly string[],
  environment: Readonly<Record<string, string | undefined>> = process.env,
): { values: Values<F>; argument: string } {
  const { values, positionals } = parse(args, flags)
  const read = Object.entries(flags).map(([key, flag]) => {
    const written: string = `--${kebab(key)}`
    const given = values[kebab(key)]
    if (given !== undefined) return [key, named(written, () => flag.read([given].flat().map(String)))]
    const variable = `UNHANG_${kebab(key).replaceAll('-', '_').toUpperCase()}`
    const set = environment[variable]
    if (set === undefined || set === '') return [key, flag.fallback]
    return [key, named(variable, () => flag.read(flag.isList ? set.split('\n').filter(Boolean) : [set]))]
  })
  const [word, extra] = positionals
  if (argument && word === undefined)
    throw new TypeError(`Missing ${argument.name}. Write: unhang ${name} ${argument.name}`)
  if (argument && extra !== undefined)
    throw new TypeError(`One ${argument.name} at a time; a key goes after --key.`)
  if (!argument && word !== undefined) throw new TypeError(`unhang ${name} takes flags only, got ${word}`)
  return { values: Object.fromEntries(read) as Values<F>, argument: word ?? '' }
}

/** The text of `--help`; it fits a screen. */
export function helpOf({ name, summary, argument, flags, more }: Command<Flags>): string {
  const rows: [string, string][] = Object.entries(flags).map(([key, { placeholder, help }]) => {
    return [`--${kebab(key)}${placeholder ? ` ${placeholder}` : ''}`, help]
  })
  if (argument) rows.unshift([argument.name, argument.help])
  const width = Math.max(...rows.map(([left]) => left.length))
  const usage = ['unhang', name, ...(argument ? [argument.name] : []), '[flags]'].join(' ')
  const lines = rows.flatMap(([left, help]) => {
    const [first = '', ...rest] = wrapped(help, helpWidth - width - 4)
    return [`  ${left.padEnd(width)}  ${first}`, ...rest.map((line) => `${' '.repeat(width + 4)}${line}`)]
  })
  return [
    `Usage: ${usage}`,
    '',
    ...wrapped(summary, helpWidth),
    '',
    ...lines,
    ...(more ? ['', more] : []),
  ].join('\n')
}

function parse(args: readonly string[], flags: Flags) {
  const options = Object.fromEntries(
    Object.entries(flags).map(([key, { placeholder, isList = false }]) => [
      kebab(key),
      { type: placeholder === undefined ? ('boolean' as const) : ('string' as const), multiple: isList },
    ]),
  )
  checkValues(args, flags)
  const unknown = args
    .filter((arg) => arg.startsWith('--') && arg !== '--')
    .map((arg) => arg.replace(/=.*/s, '').slice(2))
    .find((each) => !Object.hasOwn(options, each))
  if (unknown !== undefined) {
    const meant = nearest(unknown, Object.keys(options))
    throw new TypeError(`There is no --${unknown}.${meant === undefined ? '' : ` Did you mean --${meant}?`}`)
  }
  try {
    return parseArgs({ args: [...args], allowPositionals: true, options })
  } catch (error) {
    // Its later sentences are advice for something else.
    throw new TypeError((error as Error).message.replace(/\n.*|\. To specify .*/s, ''))
  }
}

/** @throws TypeError for a flag whose value looks like a flag itself: it may have been forgotten */
function checkValues(args: readonly string[], flags: Flags): void {
  for (const [key, { placeholder }] of Object.entries(flags)) {
    const written = `--${kebab(key)}`
    const isFollowed = args.some((arg, at) => arg === written && /^-./.test(args[at + 1] ?? ''))
    if (placeholder === undefined || !isFollowed) continue
    // The value may be a key: it is not shown.
    throw new TypeError(
      `${written} needs a value; one that begins with - is written as ${written}=${placeholder}`,
    )
  }
}

/** A message that says which flag, or which variable, has the value. */
function named<T>(written: string, read: () => T): T {
  try {
    return read()
  } catch (error) {
    throw new TypeError(`${written} ${(error as Error).message}`)
  }
}

function kebab(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
}

/** Sentences in lines of a width. */
export function wrapped(sentences: string, width: number): string[] {
  const lines: string[] = []
  for (const word of sentences.split(' ')) {
    const last = lines.at(-1)
    if (last !== undefined && last.length + 1 + word.length <= width)
      lines[lines.length - 1] = `${last} ${word}`
    else lines.push(word)
  }
  return lines
}
