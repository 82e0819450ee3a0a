import { createContext, runInContext } from 'node:vm'
import { build } from 'esbuild'
import { expect, test } from 'vitest'

/** One exchange whose events go into an array, as a fetch handler would run it. */
const entry = `
  import { dialects } from './src/dialects/index.ts'
  import { Exchange } from './src/stream/exchange.ts'
  import { TimeoutCoordinator } from './src/timeouts/timeout-coordinator.ts'

  export async function run(failure) {
    const written = []
    const output = {
      committed: false, gone: false, left: false, isForeign: false, status: undefined,
      events: 0, bytes: 0, heartbeats: 0,
      write(text, events) { if (this.stopped) return; this.committed = true; this.status = 200; this.events += events; written.push(text) },
      end(events) { this.events += events.length; written.push(...events.map(({ data }) => data)) },
      respond(reason, message) { this.status = reason.status; written.push(message) },
      destroy() {}, stop() { this.stopped = true }, flushed: async () => 'flushed',
    }
    const timeouts = new TimeoutCoordinator()
    const subject = { requestId: 'r', model: 'm', server: undefined, dialect: dialects.openaiChat }
    const exchange = new Exchange(subject, { reportsErrors: true }, { output, timeouts, upstreams: { release() {} } })
    timeouts.onSettled((reason) => exchange.settled(reason))
    exchange.begin()
    if (failure === 'before') exchange.fail(new Error('bug'))
    exchange.observe({ data: '{"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"Hi"}}]}' })
    exchange.accept('Hi', 1)
    if (failure === 'after') exchange.fail(new Error('bug'))
    exchange.observe({ data: '[DONE]' })
    exchange.accept('[DONE]', 1)
    const { outcome, events, status } = await exchange.ended
    return JSON.parse(JSON.stringify({ written, outcome, events, status }))
  }
`

/** What a browser, a worker or an edge function has of its own. */
const globals = {
  AbortController,
  DOMException,
  clearTimeout,
  crypto,
  performance,
  queueMicrotask,
  setTimeout,
}

test('an exchange needs nothing of Node: it can be bundled for browsers, and runs there', async () => {
  const { outputFiles, metafile } = await build({
    stdin: { contents: entry, resolveDir: '.', loader: 'ts' },
    bundle: true,
    platform: 'browser',
    format: 'iife',
    globalName: 'bundle',
    metafile: true,
    write: false,
  })
  const imports = Object.values(metafile.inputs).flatMap((input) => input.imports.map(({ path }) => path))
  expect(imports.filter((path) => path.startsWith('node:'))).toEqual([])
  const context = createContext({ ...globals, console: { error() {} } })
  runInContext(outputFiles[0]?.text ?? '', context)
  expect(await runInContext('bundle.run()', context)).toEqual({
    written: ['Hi', '[DONE]'],
    outcome: 'completed',
    events: 2,
    status: 200,
  })
  expect(await runInContext("bundle.run('before')", context)).toEqual({
    written: ['The server met an internal error.'],
    outcome: 'internal',
    events: 0,
    status: 500,
  })
  expect(await runInContext("bundle.run('after')", context)).toMatchObject({ outcome: 'internal', events: 2 })
})
