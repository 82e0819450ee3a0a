import { access, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'

const text = await readFile('docs/ARCHITECTURE.md', 'utf8')
const quoted = [...text.matchAll(/`([^`\n]+)`/g)].map(([, code = '']) => code)
const paths = [...new Set(quoted.filter((code) => /\.ts$/.test(code) || /^[^\s()]*\/[^\s()]*$/.test(code)))]

const exists = (path: string) =>
  access(path).then(
    () => true,
    () => false,
  )

describe('docs/ARCHITECTURE.md', () => {
  test('names more than thirty paths', () => {
    expect(paths.length).toBeGreaterThan(30)
  })

  test.each(paths)('%s exists', async (path) => {
    expect((await exists(path)) || (await exists(join('src', path)))).toBe(true)
  })

  test('has a line in the table for each room, and a place for it in the rows of imports', async () => {
    const [, rows = ''] = text.match(/```\n([^`]*)```/) ?? []
    for (const entry of await readdir('src', { withFileTypes: true })) {
      const room = `src/${entry.name}${entry.isDirectory() ? '/' : ''}`
      expect(text).toContain(`\n| \`${room}\` |`)
      expect(rows.split(/[\s·]+/)).toContain(entry.name.replace('.ts', ''))
    }
  })

  test('is short', () => {
    expect(text.trimEnd().split('\n').length).toBeLessThanOrEqual(120)
  })
})
