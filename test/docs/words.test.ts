import { access, readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { pages } from '../support/pages.js'

const readme = await readFile('README.md', 'utf8')

const withoutCode = (text: string) => text.replace(/^ *```.*?^ *```$/gms, '')

/** The sentences of a page: each cell, list item and paragraph by itself, links without their targets, no comments. */
function sentences(text: string): string[] {
  const prose = withoutCode(text)
    .replace(/<!--.*?-->/gs, '')
    .replace(/!?\[([^\]]*)\]\([^)]*\)/g, '$1')
    .replace(/<https?:[^>]*>/g, 'URL')
  return prose
    .split(/\n\s*\n|\n(?=\s*(?:[-*|#]|\d+\. ))| \| /)
    .flatMap((part) => part.replace(/\s+/g, ' ').split(/(?<=[.!?][)*”]*) /))
    .map((sentence) => sentence.trim())
    .filter((sentence) => sentence !== '')
}

const words = (sentence: string) => sentence.split(' ').filter((word) => /[\p{L}\p{N}]/u.test(word)).length

/** ARCHITECTURE.md ends with a list of words, the changes are lines, and the benches are notes of measurements. */
const prosePages = pages.filter((page) => !/CHANGELOG|ARCHITECTURE|bench/.test(page))

describe('README', () => {
  const lines = readme.trimEnd().split('\n')

  test('has at most 200 lines', () => {
    expect(lines.length).toBeLessThanOrEqual(200)
  })

  test('shows how to install and to begin within its first twenty lines', () => {
    const first = lines.slice(0, 20)
    expect(first).toContain('npm install unhang')
    expect(first.join('\n')).toMatch(/^import \{ guardStreams \} from 'unhang\/express'/m)
    expect(first.join('\n')).toMatch(/^app\.use\(guardStreams\(\)\)/m)
  })

  test('says how to start and to test it', () => {
    expect(lines).toContain('npm ci && npm start')
    expect(lines).toContain('npm ci && npm test')
  })

  test('links only pages that are in the package', async () => {
    const { files } = JSON.parse(await readFile('package.json', 'utf8')) as { files: string[] }
    const linked = [...readme.matchAll(/\]\(((?!https?:)[^)#\s]+)/g)].map(([, path = '']) => path)
    expect(linked.length).toBeGreaterThan(30)
    expect(
      linked.filter((path) => !files.some((file) => path === file || path.startsWith(`${file}/`))),
    ).toEqual([])
  })

  test('links every other page', () => {
    for (const page of pages.filter((each) => each !== 'README.md')) expect(readme).toContain(`(${page})`)
  })
})

test('sentences() takes a number at the beginning of a line for a list only if a point and a space follow', () => {
  const found = sentences('It costs 1.1 to\n1.4 times as much.\n22. That is a list')
  expect(found).toEqual(['It costs 1.1 to 1.4 times as much.', '22.', 'That is a list'])
})

test('sentences() leaves out the tests that are named in comments', () => {
  const found = sentences(
    'It holds.\n<!-- a.test.ts: it holds -->\nSo <!-- b.test.ts: it does --> does this.',
  )
  expect(found).toEqual(['It holds.', 'So does this.'])
})

test('sentences() finds them, so that a long one is seen', () => {
  const long = Array.from({ length: 31 }, () => 'word').join(' ')
  const found = sentences(
    `# One\n\nTwo is short. ${long}.\n- Three\n\n| four | five |\n\n\`\`\`sh\n${long} code\n\`\`\`\n`,
  )
  expect(found).toHaveLength(6)
  expect(found.filter((sentence) => words(sentence) > 30)).toEqual([`${long}.`])
})

test.each(prosePages)('%s: no sentence has more than 30 words', async (page) => {
  const found = sentences(await readFile(page, 'utf8'))
  expect(found.length).toBeGreaterThan(5)
  expect(found.filter((sentence) => words(sentence) > 30)).toEqual([])
})

/** As GitHub makes them. */
function anchors(text: string): Set<string> {
  const seen = new Map<string, number>()
  const found = new Set<string>()
  for (const [, heading = ''] of withoutCode(text).matchAll(/^#+ (.*)$/gm)) {
    const slug = heading
      .replace(/\[([^\]]*)\]\([^)]*\)/g, '$1')
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, '')
      .replace(/ /g, '-')
    const times = seen.get(slug) ?? 0
    seen.set(slug, times + 1)
    found.add(times === 0 ? slug : `${slug}-${times}`)
  }
  return found
}

test.each(pages)('%s: every link leads somewhere', async (page) => {
  const text = withoutCode(await readFile(page, 'utf8'))
  const dead: string[] = []
  for (const [, target = ''] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
    if (/^https?:/.test(target)) continue
    const [path = '', anchor] = target.split('#')
    const file = path === '' ? page : join(dirname(page), path)
    const isThere = await access(file).then(
      () => true,
      () => false,
    )
    if (!isThere || (anchor && !anchors(await readFile(file, 'utf8')).has(anchor))) dead.push(target)
  }
  expect(dead).toEqual([])
})

/** Names that the code refuses by now, or has changed. */
const oldNames = [
  /\bstream\.timeouts\b/,
  /\(attempt, signal\)/,
  /\battempts\b(?=[:`])/,
  /\brecovery\b/i,
  /\bexposeDetails\b/,
  /\bdrainMs\b/,
  /(?<!upstreamS)(?<!clientS)\bstallMs\b/,
  /\bcleanup\.graceMs\b/,
  /\bcommitAfterMs\b/,
  /\bwriter\.committed\b/,
  /\bdetect: false\b/,
  /\bgetStream\(request\)\?\.signal\b/,
  /\bFollowedStream\b/,
]

test.each(pages)('%s: no old name', async (page) => {
  const text = await readFile(page, 'utf8')
  expect(oldNames.flatMap((name) => text.match(name)?.[0] ?? [])).toEqual([])
})
