import { access, readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'

const text = await readFile('CONTRIBUTING.md', 'utf8')
/** In backticks, in a link or in a command; a name in capitals stands for one of the reader's own. */
const paths = new Set(text.match(/(?<![\w./-])(?:src|test|docs|\.github)\/[\w./-]*[\w/](?=[`)#\s])/g))

test.each([...paths].filter((path) => !path.includes('NAME')))('CONTRIBUTING.md: %s exists', async (path) => {
  await expect(access(path)).resolves.toBeUndefined()
})
