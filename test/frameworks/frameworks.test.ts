import { readFile, writeFile } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type ScriptedUpstream, startUpstream } from '../support/scripted-upstream.js'
import { type RunningApp, startApp } from './app.js'
import { apps } from './apps.js'
import { type CourseName, courses, type Outcome, type Seen, silenceMs, take } from './courses.js'

const names = Object.keys(courses) as CourseName[]
const options = JSON.stringify({
  timeouts: { inactivityMs: silenceMs },
  adopt: { onDisconnect: 'cancel' },
})

/** The text and the error that a client of a guarded app gets. */
const guarded: Record<CourseName, Seen> = {
  'sends a whole answer': { outcome: 'complete' },
  resets: { outcome: 'reported', code: 'connection_reset' },
  'stops short': { outcome: 'reported', code: 'upstream_truncated' },
  'sets off a bug of the app': { outcome: 'reported', code: 'internal_error' },
  'falls silent': { outcome: 'reported', code: 'upstream_inactivity_timeout' },
  'loses its client': { outcome: 'let go' },
}

interface Row {
  name: string
  way: string
  outcomes: Partial<Record<CourseName, Outcome>>
}

const rows: Row[] = []

let upstream: ScriptedUpstream
beforeAll(async () => {
  upstream = await startUpstream(() => {})
})
afterAll(() => upstream[Symbol.asyncDispose]())

describe.each(apps)('$name', (app) => {
  const { name, command, ways, guardedWays, withoutCode = [], guards, takesFlag, adopts = true } = app
  const coursesOf = (way: string) =>
    names.filter((course) => course !== 'sets off a bug of the app' || !withoutCode.includes(way))
  const expected = (course: CourseName): Seen =>
    course === 'loses its client' && !adopts ? { outcome: 'goes on' } : guarded[course]
  const start = (environment: Record<string, string>, flags?: string[]) =>
    startApp(command, { flags, environment: { UPSTREAM_URL: upstream.url, ...environment } })
  const chat = (path: string) => `${path}/v1/chat/completions`

  describe('without unhang', () => {
    let app: RunningApp | undefined
    /** A fault in one test must not end the app in the next. */
    const stop = async () => {
      await app?.[Symbol.asyncDispose]()
      app = undefined
    }
    afterAll(stop)
    for (const [way, path] of Object.entries(ways)) {
      const row: Row = { name, way, outcomes: {} }
      rows.push(row)
      test.each(coursesOf(way))(`${way}: the upstream %s`, async (course) => {
        app ??= await start({})
        const { outcome } = await take(app, upstream, course, chat(path))
        row.outcomes[course] = outcome
        if (course === 'sends a whole answer') expect(outcome).toBe('complete')
        else await stop()
      })
    }
  })

  const byFlag = () => start({ UNHANG_OPTIONS: options }, ['--import', 'unhang/register'])
  const modes = [
    ...(takesFlag ? [{ mode: '--import unhang/register', startGuarded: byFlag, paths: ways }] : []),
    ...Object.entries(guards).map(([mode, by]) => {
      const paths = guardedWays?.[mode] ?? ways
      return { mode, startGuarded: () => start({ GUARD: options, GUARD_BY: by }), paths }
    }),
  ]
  describe.each(modes)('$mode', ({ startGuarded, paths }) => {
    let app: RunningApp
    beforeAll(async () => {
      app = await startGuarded()
    })
    afterAll(() => app?.[Symbol.asyncDispose]())
    for (const [way, path] of Object.entries(paths)) {
      test.each(coursesOf(way))(`${way}: the upstream %s`, async (course) => {
        const seen = await take(app, upstream, course, chat(path))
        expect(seen).toEqual(expected(course))
        expect(app.hasEnded).toBe(false)
      })
    }
  })
})

test('docs/FRAMEWORKS.md says what each of them does by itself', async () => {
  const columns: Partial<Record<CourseName, string>> = {
    resets: 'resets',
    'stops short': 'stops short',
    'sets off a bug of the app': 'the handler throws',
    'falls silent': 'falls silent',
    'loses its client': 'the client leaves',
  }
  const shown = Object.keys(columns) as CourseName[]
  const seen = [
    `| framework | a stream is written by | ${Object.values(columns).join(' | ')} |`,
    `|${' --- |'.repeat(2 + shown.length)}`,
    ...rows.map(({ name, way, outcomes }) => {
      const cells = shown.map((course) => outcomes[course] ?? '–')
      return `| ${[name, `\`${way}\``.replace(/^`(an? .*)`$/, '$1'), ...cells].join(' | ')} |`
    }),
  ].join('\n')
  const page = await readFile('docs/FRAMEWORKS.md', 'utf8')
  const [written = ''] = page.match(/^\| framework \| a stream is written by .*\n(\|.*\n)*/m) ?? []
  if (process.env.UPDATE_DOCS)
    await writeFile(
      'docs/FRAMEWORKS.md',
      page.replace(written, () => `${seen}\n`),
    )
  else expect(written.trim()).toBe(seen)
})
