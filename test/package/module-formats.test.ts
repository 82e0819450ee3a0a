import { execFile } from 'node:child_process'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { workshop } from '../support/workshop.js'

const run = promisify(execFile)
/** The names that the design promised. */
const designed = [
  'createSSEWriter',
  'TimeoutCoordinator',
  'coordinatedSocketCleanup',
  'detectStreamingRequest',
  'handleSocketHangUp',
  'isSocketHangUp',
  'timeoutProfiles',
]

test('the package works as ESM and as CommonJS, and both are one', async () => {
  await using place = await workshop()
  // .ci/projects.mjs imports the same names from the packed tarball.
  const names = JSON.parse(await readFile('test/programs/names.json', 'utf8'))
  expect(Object.keys(names)).toEqual([
    'unhang',
    'unhang/express',
    'unhang/fastify',
    'unhang/koa',
    'unhang/register',
    'unhang/resume',
    'unhang/testing',
  ])
  for (const name of designed) expect(names.unhang).toContain(name)
  const check = (load: (door: string) => string) => `
    for (const [door, expected] of Object.entries(${JSON.stringify(names)})) {
      const found = Object.keys(${load('door')}).sort().join()
      if (found !== expected.join()) throw new Error(door + ' has ' + found)
    }
    for (const name of ['standard', 'streaming', 'advanced']) {
      if (!(unhang.timeoutProfiles[name].totalMs > 0)) throw new Error(name)
    }
  `
  await writeFile(
    join(place.folder, 'a.cjs'),
    `const unhang = require('unhang'); ${check((door) => `require(${door})`)}
    import('unhang').then((other) => {
      if (!other.isStreamError(new unhang.StreamError('internal'))) throw new Error('two copies, two kinds of error')
      const target = new AbortController()
      if (unhang.coordinatedSocketCleanup(target) !== other.coordinatedSocketCleanup(target)) throw new Error('two registries')
      const server = require('node:http').createServer()
      if (unhang.drainStreams(server) !== other.drainStreams(server)) throw new Error('two drains')
    })`,
  )
  await writeFile(
    join(place.folder, 'a.mjs'),
    `import * as unhang from 'unhang'; ${check((door) => `await import(${door})`)}`,
  )
  for (const file of ['a.cjs', 'a.mjs']) await run(process.execPath, [join(place.folder, file)])
  const bundles = (await readdir('dist')).filter((file) => file.endsWith('.cjs'))
  expect(bundles.length).toBeGreaterThan(4)
  for (const file of bundles) {
    const code = await readFile(join('dist', file), 'utf8')
    expect(code).not.toMatch(/require\(["']p-timeout["']\)/)
    // The output of tsup without Rollup: a closure for each ?. and ??.
    expect(code).not.toContain('_optionalChain')
  }
})
