import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'

const page = await readFile('docs/FAILURE-MODES.md', 'utf8')
const rows = page.split('\n').filter((line) => line.startsWith('| FM-'))
const ids = rows.map((row) => row.slice(2, 7))

/** The numbers that the tests use, and one file that uses each. */
async function idsOfTests(): Promise<Map<string, string>> {
  const used = new Map<string, string>()
  for (const file of await readdir('test', { recursive: true })) {
    if (!file.endsWith('.ts') || file.includes('.docs-') || file === join('docs', 'failure-modes.test.ts'))
      continue
    const text = await readFile(join('test', file), 'utf8')
    for (const [id] of text.matchAll(/FM-\d+/g)) used.set(id, file)
  }
  return used
}

describe('docs/FAILURE-MODES.md', () => {
  test('has a row for each number in the tests', async () => {
    const missing = [...(await idsOfTests())].filter(([id]) => !ids.includes(id))
    expect(missing).toEqual([])
  })

  test('has no row without a test', async () => {
    const used = await idsOfTests()
    expect(ids.filter((id) => !used.has(id))).toEqual([])
  })

  test('has each number once, in order, and five cells in each row', () => {
    expect(ids).toEqual(ids.map((_id, index) => `FM-${String(index + 1).padStart(2, '0')}`))
    for (const row of rows) expect(row.split(' | ')).toHaveLength(5)
  })

  test.each(['outcomes', 'codes'])('names only %s that exist', async (kind) => {
    const source = await readFile('src/errors/outcomes.ts', 'utf8')
    const report = await readFile('src/errors/upstream-report.ts', 'utf8')
    const named = rows.flatMap((row) => {
      const cells = row.split(' | ')
      const text = kind === 'outcomes' ? cells.at(-1) : cells.slice(2, 4).join(' ')
      return [...(text ?? '').matchAll(/`([a-z]+(?:_[a-z]+)+)`/g)].map(([, name]) => name)
    })
    expect(named.length).toBeGreaterThan(15)
    for (const name of named.filter((each) => each !== 'finish_reason'))
      expect(source + report).toMatch(new RegExp(`'${name}'`))
  })
})
