import { spawn } from 'node:child_process'
import { on, once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Readable } from 'node:stream'

/** The pages of a newcomer: their snippets compile. */
export const referencePages = [
  'README.md',
  'docs/QUICKSTART.md',
  'docs/WEB.md',
  'docs/GUARD.md',
  'docs/STREAMING-ROUTES.md',
  'docs/OPTIONS.md',
  'docs/API.md',
  'docs/MONITORING.md',
  'docs/RESUME.md',
  'docs/SCALING.md',
]

function snippetsOf(text: string, language: string): string[] {
  return [...text.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\``, 'gms'))].map(
    ([, code]) => code ?? '',
  )
}

/** The snippets of a page, in one language. */
export async function snippets(file: string, language: string): Promise<string[]> {
  return snippetsOf(await readFile(file, 'utf8'), language)
}

/** The programs of a page, by the heading above them. */
export async function guidePrograms(file: string): Promise<Map<string, string[]>> {
  const [, ...sections] = (await readFile(file, 'utf8')).split(/^## /m)
  return new Map(sections.map((section) => [section.split('\n', 1)[0] ?? '', snippetsOf(section, 'js')]))
}

/** Runs a program of a page as it stands there, but for its ports. */
export async function startGuideProgram(code: string, upstreamUrl: string) {
  const folder = await mkdtemp(join('test', '.docs-'))
  const file = join(folder, 'program.mjs')
  const text = code
    .replaceAll('http://127.0.0.1:8080', upstreamUrl)
    .replace('.listen(3000)', ".listen(0, '127.0.0.1', function () { console.log(this.address().port) })")
  await writeFile(file, text)
  const child = spawn(process.execPath, [file], { stdio: ['ignore', 'pipe', 'ignore'] })
  const port = await portOf(child.stdout)
  return {
    port,
    process: child,
    /** Waits until it says something. */
    async says(text: string) {
      for await (const [piece] of on(child.stdout, 'data')) if (String(piece).includes(text)) return
    },
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
      await rm(folder, { recursive: true })
    },
  }
}

/** A program may say something else first. */
async function portOf(output: Readable): Promise<number> {
  let said = ''
  for await (const [piece] of on(output, 'data')) {
    said += piece
    const port = /^(\d+)\n/m.exec(said)?.[1]
    if (port) return Number(port)
  }
  throw new Error(`no port: ${said}`)
}
