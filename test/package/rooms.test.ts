import { execFile } from 'node:child_process'
import { appendFile, cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, relative, resolve } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'

interface Override {
  includes: string[]
  linter?: {
    rules: {
      correctness?: { noNodejsModules?: string }
      style?: { noRestrictedImports?: { options: { patterns: { message: string; group: string[] }[] } } }
    }
  }
}

interface Diagnostic {
  category: string
  message: string
  location: { path: string; start: { line: number } }
}

/** One override of biome.json. */
interface Rule {
  includes: string[]
  message: string
}

/** One wrong import, and the message that refuses it. */
interface Plant {
  file: string
  line: string
  message: string
}

/** Rooms that are one file each. */
const fileRooms = ['src/registry.ts', 'src/cli.ts']
/** Public names and programs: no room imports them. */
const doors = ['src/index.ts', 'src/cli.ts', 'src/register.ts']

const { overrides } = JSON.parse(await readFile('biome.json', 'utf8')) as { overrides: Override[] }
const rules: Rule[] = overrides.flatMap(({ includes, linter }) => {
  const patterns = linter?.rules.style?.noRestrictedImports?.options.patterns ?? []
  return patterns.map(({ message }) => ({ includes, message }))
})

/** The folders of `src/` that hold TypeScript, at any depth, as `src/framing/sse`. */
const folders = [
  ...new Set(
    (await readdir('src', { recursive: true, withFileTypes: true }))
      .filter((entry) => entry.isFile() && entry.name.endsWith('.ts') && entry.parentPath !== 'src')
      .map(({ parentPath }) => parentPath),
  ),
].sort()

const roomOf = (path: string) => path.split('/').slice(0, 2).join('/')
// An include speaks of the files right in a folder: of `src/guard`, or of each folder in `src/framing`.
const covers = (include: string, folder: string) =>
  new RegExp(`^${dirname(include).replaceAll('*', '[^/]+')}$`).test(folder)
const ruleOf = (folder: string) =>
  rules.find(({ includes }) => includes.some((include) => covers(include, folder)))

/** The rooms of each row, from the top row down: biome.json has them in this order. */
const rows: string[][] = []
for (const { includes, message } of rules) {
  // Two overrides that allow the same imports are about the same row: `src/registry.ts` stands beside `src/dialects`.
  const [, allowed = message] = message.match(/may import (.*)$/) ?? []
  const sameRow = rules.findIndex((rule) => rule.message.endsWith(`may import ${allowed}`))
  rows[sameRow] = [
    ...(rows[sameRow] ?? []),
    ...includes.map((include) => roomOf(include.replace(/\/\*.*/, ''))),
  ]
}
const rowOf = (room: string) => rows.findIndex((row) => row?.includes(room))

/** The rooms that a room must not import: those of its own row, those of a higher row, and the doors. */
function forbidden(room: string): string[] {
  const above = rows.slice(0, rowOf(room) + 1).flatMap((row) => row ?? [])
  return [...new Set([...doors, ...above])].filter((other) => other !== room)
}

/** The path of an import of `room` from a file in `folder`. */
function specifier(folder: string, room: string): string {
  const target = room.endsWith('.ts') ? room.replace(/ts$/, 'js') : `${room}/any.js`
  const path = relative(folder, target)
  return path.startsWith('.') ? path : `./${path}`
}

const forms: [string, (from: string) => string][] = [
  ['value', (from) => `import { any } from '${from}'`],
  ['type', (from) => `import type { Any } from '${from}'`],
  ['again', (from) => `export type { Any } from '${from}'`],
]

/** Each wrong import that there is: one file each, so that no refusal can stand for another. */
function wrongImports(): Plant[] {
  const rooms = new Set([...folders, ...rows.flat().filter((room) => !room.endsWith('.ts'))])
  return [...rooms].flatMap((folder) => {
    const message = ruleOf(folder)?.message ?? `biome.json: no override for ${folder}`
    return forbidden(roomOf(folder)).flatMap((room) =>
      forms.map(([form, write]) => ({
        file: `${folder}/wrong-${form}-${room.replace(/^src\//, '').replace('.ts', '')}.ts`,
        line: write(specifier(folder, room)),
        message,
      })),
    )
  })
}

/** The linter, in a copy of `src/` that is as it is or has got wrong imports. */
async function lint(plant: (place: string) => Promise<unknown> = async () => {}): Promise<Diagnostic[]> {
  const place = await mkdtemp(join(tmpdir(), 'unhang-rooms-'))
  try {
    await cp('src', join(place, 'src'), { recursive: true })
    await cp('biome.json', join(place, 'biome.json'))
    await plant(place)
    const biome = resolve('node_modules/@biomejs/biome/bin/biome')
    const args = ['lint', '--vcs-enabled=false', '--reporter=json', '--max-diagnostics=none', '.']
    const options = { cwd: place, maxBuffer: 64 * 1024 * 1024 }
    // It exits with 1 for its findings.
    const { stdout } = await promisify(execFile)(process.execPath, [biome, ...args], options).catch(
      (error) => error,
    )
    return (JSON.parse(stdout) as { diagnostics: Diagnostic[] }).diagnostics
  } finally {
    await rm(place, { recursive: true })
  }
}

const refusals = (diagnostics: Diagnostic[]) =>
  diagnostics
    .filter(({ category }) => category === 'lint/style/noRestrictedImports')
    .map(({ location, message }) => `${location.path}: ${message}`)
    .sort()

describe('the rooms of src/', () => {
  test('each folder has its row in biome.json', () => {
    expect(folders.length).toBeGreaterThan(10)
    expect(folders.filter((folder) => !ruleOf(folder))).toEqual([])
  })

  test('nothing else lies in src/ itself', async () => {
    const files = (await readdir('src', { withFileTypes: true })).filter((entry) => !entry.isDirectory())
    const known = [...doors, ...fileRooms].map((path) => path.replace('src/', ''))
    expect(files.map(({ name }) => name).filter((name) => !known.includes(name))).toEqual([])
  })

  test('no rule names a file, but for rooms that are one file', () => {
    const includes = overrides.filter(({ linter }) => linter).flatMap((override) => override.includes)
    const isFolder = (include: string) => /^src\/([a-z-]+\/|\*\/)*\*{1,2}(\.ts)?$/.test(include)
    expect(includes.filter((include) => !isFolder(include) && !fileRooms.includes(include))).toEqual([])
  })

  test('no file has more than 300 lines', async () => {
    const files = (await readdir('src', { recursive: true })).filter((file) => file.endsWith('.ts'))
    const lengths = await Promise.all(
      files.map(async (file) => {
        const text = await readFile(join('src', file), 'utf8')
        return { file, lines: text.split('\n').length - 1 }
      }),
    )
    expect(lengths.length).toBeGreaterThan(100)
    expect(lengths.filter(({ lines }) => lines > 300)).toEqual([])
  })

  test('keep to their rows', async () => {
    expect(await lint()).toEqual([])
  })

  test('every wrong import is refused, with the message of its row', async () => {
    const plants = wrongImports()
    const found = await lint(async (place) => {
      for (const { file, line } of plants) {
        await mkdir(join(place, dirname(file)), { recursive: true })
        await writeFile(join(place, file), `${line}\n`)
      }
    })
    expect(plants.length).toBeGreaterThan(300)
    expect(refusals(found)).toEqual(plants.map(({ file, message }) => `${file}: ${message}`).sort())
  })

  test('the code under a fetch handler imports nothing of Node, but for its types', async () => {
    const rule = overrides.find(({ linter }) => linter?.rules.correctness?.noNodejsModules)
    const covered = [...new Set(rule?.includes.map((include) => include.replace(/\/\*.*$/, '')))]
    expect(covered).toContain('src/web')
    const found = await lint(async (place) => {
      for (const folder of covered) {
        await writeFile(join(place, folder, 'wrong.ts'), "export { once } from 'node:events'\n")
        await writeFile(join(place, folder, 'right.ts'), "export type { Server } from 'node:http'\n")
      }
    })
    expect(found.map(({ category, location }) => `${category}: ${location.path}`).sort()).toEqual(
      covered.map((folder) => `lint/correctness/noNodejsModules: ${folder}/wrong.ts`).sort(),
    )
  })

  test.each(fileRooms)('%s has its rule too', async (file) => {
    const rule = rules.find(({ includes }) => includes.includes(file))
    const allowed = rule?.message.match(/may import (.*)/)?.[1] ?? ''
    const rooms = [...new Set(rows.flat())].filter((room) => room !== file)
    const wrong = rooms.filter(
      (room) => !new RegExp(`\\b${room.slice(4).replace('.ts', '')}\\b`).test(allowed),
    )
    const lines = wrong.flatMap((room) => forms.map(([, write]) => write(specifier('src', room))))
    expect(lines.length).toBeGreaterThan(20)
    const found = await lint((place) => appendFile(join(place, file), `${lines.join('\n')}\n`))
    expect(refusals(found)).toEqual(lines.map(() => `${file}: ${rule?.message}`))
  })
})
