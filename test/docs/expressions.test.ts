import { readdir, readFile } from 'node:fs/promises'
import { describe, expect, test } from 'vitest'
import { pages } from '../support/pages.js'
import { type Expression, expressions, proseExpressions } from './expressions.js'

const under = async (folder: string, ending: RegExp) =>
  (await readdir(folder, { recursive: true, withFileTypes: true }))
    .filter(
      (entry) => entry.isFile() && ending.test(entry.name) && !/node_modules|\.docs-/.test(entry.parentPath),
    )
    .map((entry) => `${entry.parentPath}/${entry.name}`)

const code = [...(await under('src', /\.ts$/)), ...(await under('examples', /\.(ts|mjs|html)$/))]
const tests = await under('test', /\.(test|long)\.ts$|-contract\.ts$/)

/** A page without the names of the tests that prove it. */
const proseOf = (text: string) => text.replace(/<!--.*?-->/gs, '')

/** The names of tests, in a table of `each` too where they stand alone on a line. */
const namesOf = (text: string) =>
  text
    .split('\n')
    .filter((line) => /\b(test|it|describe)\b.*\(['"`]|^\s*\]\)\(['"`]|^\s*['"`].*['"`],$/.test(line))
    .join('\n')

function found(path: string, text: string, looked: readonly Expression[]): string[] {
  return looked.flatMap(({ pattern, instead, mayStandIn = [] }) =>
    mayStandIn.some((place) => path.startsWith(place))
      ? []
      : text
          .split('\n')
          .filter((line) => pattern.test(line))
          .map((line) => `${line.trim()} (write: ${instead})`),
  )
}

describe('expressions that a native reader stumbles over', () => {
  test('are found', () => {
    const text =
      'The client is told.\nA kept connection breaks.\nconst mostBytes = 1\nWhat is no event goes on.\nAll is well.'
    expect(found('src/x.ts', text, expressions)).toHaveLength(4)
    expect(found('src/x.ts', 'There is no such stream.\nIt is no longer there.', expressions)).toEqual([])
  })

  test.each(pages)('%s has none', async (page) => {
    const text = proseOf(await readFile(page, 'utf8'))
    expect(found(page, text, [...expressions, ...proseExpressions])).toEqual([])
  })

  test('code has none: docstrings, messages, comments, names', async () => {
    const texts = await Promise.all(code.map(async (path) => [path, await readFile(path, 'utf8')] as const))
    const all = texts.flatMap(([path, text]) =>
      found(path, text, expressions).map((line) => `${path}: ${line}`),
    )
    expect(all).toEqual([])
  })

  test('names of tests have none', async () => {
    const texts = await Promise.all(
      tests.map(async (path) => [path, namesOf(await readFile(path, 'utf8'))] as const),
    )
    const all = texts.flatMap(([path, text]) =>
      found(path, text, expressions).map((line) => `${path}: ${line}`),
    )
    expect(all).toEqual([])
  })

  test('every place where one may stand is there', async () => {
    const places = [...expressions, ...proseExpressions].flatMap(({ mayStandIn = [] }) => mayStandIn)
    for (const place of places)
      expect([...pages, ...code, ...tests].some((path) => path.startsWith(place))).toBe(true)
  })
})
