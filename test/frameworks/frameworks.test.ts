import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type ScriptedUpstream, startUpstream } from '../support/scripted-upstream.js'
import { type RunningApp, startApp } from './app.js'
import { apps } from './apps.js'
import { type CourseName, courses, type Seen, silenceMs, take } from './courses.js'

const names = Object.keys(courses) as CourseName[]
const options = JSON.stringify({
  timeouts: { inactivityMs: silenceMs },
  adopt: { onDisconnect: 'cancel' },
})
const chat = (way: string) => `${way}/v1/chat/completions`

let upstream: ScriptedUpstream
beforeAll(async () => {
  upstream = await startUpstream(() => {})
})
afterAll(() => upstream[Symbol.asyncDispose]())

describe.each(apps)('$name', ({ command, ways, guards, takesFlag, name }) => {
  const modes = {
    bare: {},
    ...(takesFlag && {
      '--import unhang/register': {
        flags: ['--import', 'unhang/register'],
        environment: { UNHANG_OPTIONS: options },
      },
    }),
    ...Object.fromEntries(
      Object.entries(guards).map(([guard, by]) => [guard, { environment: { GUARD: options, GUARD_BY: by } }]),
    ),
  }
  describe.each(Object.entries(modes))('%s', (mode, more) => {
    let app: RunningApp
    const start = async () => {
      app = await startApp(command, {
        ...more,
        environment: { UPSTREAM_URL: upstream.url, ...(more as { environment?: object }).environment },
      })
    }
    beforeAll(start)
    afterAll(() => app?.[Symbol.asyncDispose]())
    for (const [way, path] of Object.entries(ways)) {
      for (const course of names) {
        test(`${way}: ${course}`, async () => {
          if (app.hasEnded) await start()
          let seen: Seen | string
          try {
            seen = await take(app, upstream, course, chat(path))
          } catch (error) {
            seen = String(error).slice(0, 300)
          }
          console.log(
            'ROW',
            name,
            '|',
            mode,
            '|',
            way,
            '|',
            course,
            '|',
            JSON.stringify(seen),
            app.hasEnded ? 'ENDED' : '',
          )
        })
      }
    }
  })
})
