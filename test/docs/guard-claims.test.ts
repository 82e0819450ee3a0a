import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'

/** The promises of docs/GUARD.md, and its limits of the guard. */
const sections = ['What it does', 'What changes', 'Headers of a stream', 'Limits']
const text = readFileSync('docs/GUARD.md', 'utf8')

/** The claims of a section: its table rows, list items and paragraphs, each with the tests that are named beside it. */
function claimsOf(section: string): string[] {
  const [, body = ''] = text.split(new RegExp(`^##+ ${section}$`, 'm'))
  const lines = body.split(/^##/m)[0]?.split('\n') ?? []
  const claims: string[] = []
  let isBetween = true
  for (const line of lines) {
    // A blank line, and the beginning of a row or an item, ends the claim before.
    const begins = isBetween || /^(- |\| )/.test(line)
    isBetween = /^\s*$|^\| ---|^\| (response|header) \|/.test(line)
    if (isBetween) continue
    if (begins) claims.push(line)
    else claims[claims.length - 1] += `\n${line}`
  }
  return claims
}

const named = sections.flatMap((section) => claimsOf(section).map((claim) => [section, claim] as const))

describe('docs/GUARD.md', () => {
  test('has claims in each of these sections', () => {
    for (const section of sections) expect(claimsOf(section).length).toBeGreaterThan(1)
  })

  test.each(named)('%s: the test that proves it stands beside it, and exists: %s', (_section, claim) => {
    const comments = [...claim.matchAll(/<!-- (\S+\.ts): (.*?) -->/g)]
    expect(comments.length).toBeGreaterThan(0)
    for (const [, file, title] of comments) {
      const titles = readFileSync(`test/${file}`, 'utf8')
        .split('\n')
        .filter((line) => /^\s*(?:\/\/|\*)|\.(skip|todo)\b/.test(line) === false)
      expect(titles.filter((line) => line.includes(title as string))).not.toEqual([])
    }
  })
})
