import { access, readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'

const text = await readFile('CONTRIBUTING.md', 'utf8')
/** In backticks, in a link or in a command; a name in capitals stands for one of the reader's own. */
const paths = new Set(text.match(/(?<![\w./-])(?:src|test|docs|\.github)\/[\w./-]*[\w/](?=[`)#\s])/g))

test.each([...paths].filter((path) => !path.includes('NAME')))('CONTRIBUTING.md: %s exists', async (path) => {
  await expect(access(path)).resolves.toBeUndefined()
})

/** What is tested before each release and not for each change, as README.md and the table of CONTRIBUTING.md say. */
const before = [
  'test:installed',
  'test:runtimes',
  'test:frameworks',
  'test:sillytavern',
  'test:node-matrix',
  'test:gauntlet',
  'test:resume-long',
  'types.mjs',
  'soak',
]

test.each(before)('%s is part of the long run, not of the gate', async (name) => {
  const [gate, long] = await Promise.all(['.ci/run', '.ci/long'].map((file) => readFile(file, 'utf8')))
  expect(steps(long)).toMatch(new RegExp(`[ /]${name}(?![\\w.-])`))
  expect(steps(gate)).not.toMatch(new RegExp(`[ /]${name}(?![\\w.-])`))
})

test('the long run has all lines of Node that README.md names', async () => {
  const [long, readme] = await Promise.all(['.ci/long', 'README.md'].map((file) => readFile(file, 'utf8')))
  const [, lines = ''] = long?.match(/test:node-matrix -- (.*)$/m) ?? []
  expect(readme).toContain(`Node ${lines.replace(/ (?=\S+ )/g, ', ').replace(/ (?=\S+$)/, ' and ')}.`)
})

/** A script without its comments. */
function steps(script = ''): string {
  return script.replace(/^#.*$/gm, '')
}
