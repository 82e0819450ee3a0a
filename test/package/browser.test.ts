import { builtinModules } from 'node:module'
import { createContext, runInContext } from 'node:vm'
import { type BuildOptions, build } from 'esbuild'
import { describe, expect, test } from 'vitest'
import { wire } from '../support/wire.js'

/** A fetch handler of each kind, as a browser, a worker or an edge function would run it. */
const program = (from: string) => `
  import { guardResponse, relayResponse, wrapApp } from '${from}'

  const headers = { 'content-type': 'text/event-stream' }
  const piece = 'data: {"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"Hé"}}]}\\n\\n'
  const bytes = new TextEncoder().encode(piece)

  function upstream(last) {
    let at = 0
    return new Response(new ReadableStream({
      pull(controller) {
        if (at < bytes.length) controller.enqueue(bytes.subarray(at, at += 7))
        else if (last) { controller.enqueue(new TextEncoder().encode(last)); controller.close() }
        else controller.error(Object.assign(new Error('reset'), { code: 'ECONNRESET' }))
      },
    }), { headers })
  }

  const ways = {
    guardResponse: (last, options) => guardResponse(upstream(last), options),
    relayResponse: (last, options) => relayResponse(() => upstream(last), undefined, options),
    mapped: (last, options) => relayResponse(() => upstream(last), (event) => event, options),
    wrapApp: (last, options) => wrapApp(() => upstream(last), options)(new Request('http://localhost/v1/chat/completions')),
  }

  export async function run(way, last) {
    let ended
    const end = new Promise((resolve) => { ended = resolve })
    const response = await ways[way](last, { dialect: 'openaiChat', onEnd: ended })
    const text = await response.text()
    const { outcome, events, bytes } = await end
    return JSON.parse(JSON.stringify({ status: response.status, text, outcome, events, bytes }))
  }
`

/** The globals of a browser, a worker or an edge function. Node's \`Buffer\`, \`process\` and \`setImmediate\` are not there. */
const globals = {
  AbortController,
  AbortSignal,
  DOMException,
  Event,
  EventTarget,
  Headers,
  ReadableStream,
  Request,
  Response,
  TextDecoder,
  TextEncoder,
  URL,
  Uint8Array,
  clearTimeout,
  console,
  crypto,
  performance,
  queueMicrotask,
  setTimeout,
}

const piece = wire({ object: 'chat.completion.chunk', choices: [{ index: 0, delta: { content: 'Hé' } }] })

async function bundle(from: string, more: BuildOptions = {}) {
  const { outputFiles, metafile } = await build({
    stdin: { contents: program(from), resolveDir: '.', loader: 'js' },
    bundle: true,
    platform: 'browser',
    format: 'iife',
    globalName: 'bundle',
    metafile: true,
    write: false,
    ...more,
  })
  return { code: outputFiles?.[0]?.text ?? '', metafile }
}

/** From the source, and as it is published. */
describe.each(['./src/web/index.ts', './dist/web.js'])('a fetch handler with %s', (from) => {
  test('is bundled for browsers without anything of Node', async () => {
    const { metafile } = await bundle(from)
    const imports = Object.values(metafile?.inputs ?? {}).flatMap((input) => input.imports)
    const names = imports.map(({ path }) => path)
    expect(names.filter((path) => path.startsWith('node:') || builtinModules.includes(path))).toEqual([])
    expect(Object.keys(metafile?.inputs ?? {}).filter((path) => /debug\/src\/node\.js/.test(path))).toEqual(
      [],
    )
  })

  test('so is the middleware of Hono', async () => {
    const { metafile } = await build({
      entryPoints: [from.replace('web/index', 'adapters/hono').replace('web.js', 'hono.js')],
      bundle: true,
      platform: 'browser',
      metafile: true,
      write: false,
      format: 'esm',
    })
    const imports = Object.values(metafile.inputs).flatMap((input) => input.imports)
    expect(imports.filter(({ path }) => builtinModules.includes(path.replace(/^node:/, '')))).toEqual([])
  })

  test('runs where there is nothing of Node', async () => {
    const { code } = await bundle(from)
    const context = createContext({ ...globals })
    runInContext(code, context)
    const run = (way: string, last?: string) => runInContext('bundle.run', context)(way, last)
    for (const way of ['guardResponse', 'relayResponse', 'mapped', 'wrapApp']) {
      const good = piece + wire('[DONE]')
      expect(await run(way, wire('[DONE]')), way).toEqual({
        status: 200,
        text: good,
        outcome: 'completed',
        events: 2,
        bytes: Buffer.byteLength(good),
      })
      const broken = await run(way)
      expect(broken, way).toMatchObject({ status: 200, outcome: 'upstream_hangup', events: 2 })
      expect(broken.text.startsWith(piece), way).toBe(true)
      expect(broken.text, way).toContain('"connection_reset"')
    }
  })
})
