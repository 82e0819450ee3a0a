import { describe, expect, test } from 'vitest'
import { type Command, helpOf, readCommandLine } from '../../src/command/command.js'
import { choice, durationMs, port, text, texts, toggle } from '../../src/command/flags.js'

const flags = {
  key: text('KEY', 'a key'),
  upstreamPort: port('where the upstream listens', 8080),
  totalMs: durationMs('how long a stream may take', 300_000, true),
  api: choice('API', 'which API', ['openai', 'gemini'], 'openai'),
  header: texts('HEADER', 'one more header'),
  json: toggle('prints JSON'),
}
const command: Command<typeof flags> = {
  name: 'try',
  summary: 'Tries something.',
  argument: { name: 'URL', help: 'the base URL' },
  flags,
  run: async () => 0,
}
const read = (args: string[], environment = {}) => readCommandLine(command, args, environment).values

describe('the command line', () => {
  test('has defaults', () => {
    expect(readCommandLine(command, ['http://a'], {})).toEqual({
      argument: 'http://a',
      values: {
        key: undefined,
        upstreamPort: 8080,
        totalMs: 300_000,
        api: 'openai',
        header: [],
        json: false,
      },
    })
  })

  test('sets each flag, before the environment does', () => {
    const environment = { UNHANG_KEY: 'other', UNHANG_UPSTREAM_PORT: '1', UNHANG_API: 'nonsense' }
    const args = ['u', '--key', 'k', '--upstream-port=0', '--total-ms', 'false', '--api', 'gemini', '--json']
    expect(read([...args, '--header', 'A: 1', '--header', 'B: 2'], environment)).toEqual({
      key: 'k',
      upstreamPort: 0,
      totalMs: Number.POSITIVE_INFINITY,
      api: 'gemini',
      header: ['A: 1', 'B: 2'],
      json: true,
    })
  })

  test('takes any value after =, and - as one', () => {
    expect(read(['u', '--key=--x', '--header', '-'])).toMatchObject({ key: '--x', header: ['-'] })
  })

  test('leaves to the environment what it does not set', () => {
    const environment = {
      UNHANG_KEY: 'k',
      UNHANG_UPSTREAM_PORT: '9000',
      UNHANG_TOTAL_MS: '20',
      UNHANG_API: 'gemini',
      UNHANG_HEADER: 'A: 1\nB: 2',
      UNHANG_JSON: '1',
    }
    expect(read(['u'], environment)).toEqual({
      key: 'k',
      upstreamPort: 9000,
      totalMs: 20,
      api: 'gemini',
      header: ['A: 1', 'B: 2'],
      json: true,
    })
    expect(read(['u'], { UNHANG_KEY: '', UNHANG_JSON: '0' })).toMatchObject({ key: undefined, json: false })
  })

  test.each<[string[], string]>([
    [[], 'Missing URL. Write: unhang try URL'],
    [['u', 'v'], 'One URL at a time; a key goes after --key.'],
    [['u', '--upstream-prot', '1'], 'There is no --upstream-prot. Did you mean --upstream-port?'],
    [['u', '--nonsense=1'], 'There is no --nonsense.'],
    [['u', '--upstream-port', '65536'], '--upstream-port must be a port from 0 to 65535; got "65536"'],
    [['u', '--upstream-port', ''], '--upstream-port must be a port from 0 to 65535; got ""'],
    [['u', '--total-ms', '0'], '--total-ms must be milliseconds, a whole number from 1, or false, got 0'],
    [['u', '--total-ms', '5s'], '--total-ms must be milliseconds, a whole number from 1, or false; got "5s"'],
    [['u', '--api', 'x'], '--api must be one of openai, gemini; got "x"'],
    [['u', '--key', '--x'], '--key needs a value; one that begins with - is written as --key=KEY'],
    [['u', '--key', '--json'], '--key needs a value; one that begins with - is written as --key=KEY'],
    [['u', '--key', '-x'], '--key needs a value; one that begins with - is written as --key=KEY'],
    [['u', '--heder', '--x'], 'There is no --heder. Did you mean --header?'],
    [['u', '--json', '--x'], 'There is no --x.'],
    [['u', '--key'], "Option '--key <value>' argument missing"],
    [['u', '--json=yes'], "Option '--json' does not take an argument"],
  ])('refuses %j in one line', (args, message) => {
    expect(() => read(args)).toThrow(new TypeError(message))
  })

  test.each<[Record<string, string>, string]>([
    [{ UNHANG_UPSTREAM_PORT: 'x' }, 'UNHANG_UPSTREAM_PORT must be a port from 0 to 65535; got "x"'],
    [{ UNHANG_JSON: 'yes' }, 'UNHANG_JSON must be 1 or 0, got "yes"'],
  ])('refuses %j in the environment', (environment, message) => {
    expect(() => read(['u'], environment)).toThrow(new TypeError(message))
  })

  test('takes no word where the command has no argument', () => {
    const { argument: _, ...rest } = command
    expect(() => readCommandLine(rest, ['u'], {})).toThrow('unhang try takes flags only, got u')
  })

  test('explains itself', () => {
    expect(helpOf(command)).toBe(`Usage: unhang try URL [flags]

Tries something.

  URL                   the base URL
  --key KEY             a key
  --upstream-port PORT  where the upstream listens; default: 8080
  --total-ms MS         how long a stream may take; default: 300000
  --api API             which API; default: openai
  --header HEADER       one more header
  --json                prints JSON`)
  })
})
