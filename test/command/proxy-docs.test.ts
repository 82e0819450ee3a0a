import { readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { helpOf, readCommandLine } from '../../src/command/command.js'
import { checkSettings, readUpstream } from '../../src/command/proxy/settings.js'
import { proxy } from '../../src/command/proxy.js'
import { snippets } from '../support/guide-programs.js'

/** The words of a command, as a shell would see them. */
function wordsOf(line: string): string[] {
  return [...line.matchAll(/'([^']*)'|"([^"]*)"|(\S+)/g)].map(
    ([, one, two, bare]) => one ?? two ?? bare ?? '',
  )
}

test.each(['docs/PROXY.md', 'README.md'])('every command of %s is taken', async (page) => {
  const lines = (await snippets(page, 'sh')).flatMap((code) => code.split('\n'))
  const commands = lines.filter((line) => line.startsWith('npx unhang proxy '))
  expect(commands.length).toBeGreaterThan(0)
  for (const line of commands) {
    const { values, argument } = readCommandLine(proxy, wordsOf(line).slice(3), {})
    const { host = '127.0.0.1', header, ...more } = values
    checkSettings({ ...more, host, headers: header, upstream: readUpstream(argument) })
  }
})

test('docs/PROXY.md has a row for each flag, and no other', async () => {
  const text = await readFile('docs/PROXY.md', 'utf8')
  const documented = [...text.matchAll(/^\| `(--[a-z-]+)/gm)].map(([, flag]) => flag)
  const known = [...helpOf(proxy as never).matchAll(/^ {2}(--[a-z-]+)/gm)].map(([, flag]) => flag)
  expect(documented).toEqual(known)
})
