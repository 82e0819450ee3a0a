import { execFile } from 'node:child_process'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { workshop } from '../support/workshop.js'

const run = promisify(execFile)

test('the package works as ESM and as CommonJS, and both are one', async () => {
  await using place = await workshop()
  const check = `
    const names = ['createSSEWriter', 'TimeoutCoordinator', 'coordinatedSocketCleanup', 'detectStreamingRequest', 'handleStream']
    for (const name of names) if (typeof unhang[name] !== 'function') throw new Error(name)
    if (typeof express.createStreamMiddleware !== 'function') throw new Error('createStreamMiddleware')
  `
  await writeFile(
    join(place.folder, 'a.cjs'),
    `const unhang = require('unhang'); const express = require('unhang/express'); ${check}
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
    `import * as unhang from 'unhang'; import * as express from 'unhang/express'; ${check}`,
  )
  for (const file of ['a.cjs', 'a.mjs']) await run(process.execPath, [join(place.folder, file)])
  const bundles = (await readdir('dist')).filter((file) => file.endsWith('.cjs'))
  expect(bundles.length).toBeGreaterThan(4)
  for (const file of bundles) {
    const code = await readFile(join('dist', file), 'utf8')
    expect(code).not.toMatch(/require\(["']p-timeout["']\)/)
    // What tsup makes of it without Rollup: a closure for each ?. and ??.
    expect(code).not.toContain('_optionalChain')
  }
})
