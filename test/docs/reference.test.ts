import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import ts from 'typescript'
import { describe, expect, test } from 'vitest'
import { checkWriterOptions } from '../../src/client/sse-writer-options.js'
import { timeoutProfiles } from '../../src/index.js'

const entries: Record<string, string> = {
  unhang: 'src/index.ts',
  'unhang/express': 'src/adapters/express.ts',
  'unhang/fastify': 'src/adapters/fastify.ts',
  'unhang/koa': 'src/adapters/koa.ts',
  'unhang/resume': 'src/resume/index.ts',
  'unhang/hono': 'src/adapters/hono.ts',
  'unhang/web': 'src/web/index.ts',
  'unhang/testing': 'src/testing/index.ts',
}

const config = ts.getParsedCommandLineOfConfigFile('tsconfig.json', { noEmit: true }, {
  ...ts.sys,
  onUnRecoverableConfigFileDiagnostic() {},
} as ts.ParseConfigFileHost)
const program = ts.createProgram(Object.values(entries), config?.options ?? {})
const checker = program.getTypeChecker()

/** The exports of a module, types too. */
function exportsOf(file: string): ts.Symbol[] {
  const source = program.getSourceFile(resolve(file))
  const module = source && checker.getSymbolAtLocation(source)
  if (!module) throw new Error(`${file} exports nothing`)
  return checker.getExportsOfModule(module)
}

/** The headings below each heading of the second level. */
function sectionsOf(text: string): Map<string, { headings: string[]; bodies: Map<string, string> }> {
  const [, ...sections] = text.split(/^## /m)
  return new Map(
    sections.map((section) => {
      const [, ...parts] = section.split(/^### /m)
      const bodies = new Map(parts.map((part) => [part.split('\n', 1)[0]?.replaceAll('`', '') ?? '', part]))
      return [section.split('\n', 1)[0] ?? '', { headings: [...bodies.keys()], bodies }]
    }),
  )
}

describe('docs/API.md', async () => {
  const sections = sectionsOf(await readFile('docs/API.md', 'utf8'))

  test.each(Object.entries(entries))(
    '%s: a heading for each export, and none for anything else',
    (name, file) => {
      const exported = exportsOf(file).map((each) => each.name)
      expect(exported.length).toBeGreaterThan(3)
      const headings = sections.get(name)?.headings.filter((each) => each !== 'Values' && each !== 'Types')
      expect(headings?.sort()).toEqual(exported.sort())
    },
  )

  test.each(Object.entries(entries))(
    '%s: the headings have what is there at run time',
    async (name, file) => {
      const values = Object.keys(await import(resolve(file)))
      expect(sections.get(name)?.headings).toEqual(expect.arrayContaining(values))
    },
  )

  test.each(Object.keys(entries))('%s: an example under each heading', (name) => {
    for (const [heading, body] of sections.get(name)?.bodies ?? []) {
      if (heading === 'Values' || heading === 'Types') continue
      const [, example = ''] = body.match(/^```ts\n(.*?)^```/ms) ?? []
      expect(example, heading).toMatch(new RegExp(`\\b${heading}\\b`))
    }
  })
})

test('README links every value', async () => {
  const readme = await readFile('README.md', 'utf8')
  for (const file of Object.values(entries)) {
    for (const name of Object.keys(await import(resolve(file)))) {
      // Scripts get an object of this class, and never make one.
      if (name !== 'UpstreamExchange') expect(readme).toContain(`(docs/API.md#${name.toLowerCase()})`)
    }
  }
})

/** A number as the pages write it, with a space before each group of three digits. */
const spaced = (value: number) => String(value).replace(/\B(?=(\d{3})+$)/g, ' ')

test('README: the defaults in its table of options are those of the code', async () => {
  const readme = await readFile('README.md', 'utf8')
  const { streaming, advanced } = timeoutProfiles
  const ofModels = (name: 'inactivityMs' | 'totalMs') =>
    `${spaced(streaming[name])}; ${spaced(advanced[name])} for models that think`
  const rows = [...readme.matchAll(/^\| \[`([\w.]+Ms)`\]\(docs\/OPTIONS\.md#\w+\) \| (.*?) \|/gm)]
  expect(Object.fromEntries(rows.map(([, option = '', cell]) => [option, cell]))).toEqual({
    'timeouts.inactivityMs': ofModels('inactivityMs'),
    'timeouts.totalMs': ofModels('totalMs'),
    'writer.heartbeatMs': spaced(checkWriterOptions({}, []).heartbeatMs),
  })
})

test.each([
  ['StreamErrorCode', 'docs/ERRORS.md'],
  ['StreamOutcome', 'docs/MONITORING.md'],
])('every %s is in %s', async (name, page) => {
  const text = await readFile(page, 'utf8')
  const [symbol] = exportsOf('src/index.ts').filter((each) => each.name === name)
  const type = symbol && checker.getDeclaredTypeOfSymbol(aliased(symbol))
  const names = type?.isUnion() ? type.types.map((each) => (each as ts.StringLiteralType).value) : []
  expect(names.length).toBeGreaterThan(10)
  for (const each of names) expect(text).toContain(`\`${each}\``)
})

const ofStreams = 'Options of a stream'

/** Where the options of each type are. */
const places: Record<string, string> = {
  StreamOptions: ofStreams,
  GuardOptions: ofStreams,
  AdoptOptions: ofStreams,
  HandleStreamOptions: ofStreams,
  StreamMiddlewareOptions: ofStreams,
  WebGuardOptions: ofStreams,
  GuardResponseOptions: ofStreams,
  RelayResponseOptions: ofStreams,
  SSEWriterOptions: 'createSSEWriter',
  OpenUpstreamOptions: 'openUpstream',
  RetryOptions: 'openUpstream',
  ReadEventStreamOptions: 'readEventStream',
  RelayOptions: 'relayEventStream',
  ReadAnswerOptions: 'readAnswer',
  SocketCleanupOptions: 'coordinatedSocketCleanup',
  ErrorResponseOptions: 'respondWithError',
  AlignOptions: 'alignServerTimeouts',
  DrainOnSignalsOptions: 'drainOnSignals',
  DrainOptions: 'drainStreams',
  TimeoutCoordinatorOptions: 'TimeoutCoordinator',
  StreamErrorOptions: 'StreamError',
  UpstreamErrorOptions: 'UpstreamError',
  FailingOptions: 'StreamDialect',
  ResumeOptions: 'createResume',
  RejoinOptions: 'resume.rejoin',
  StopOptions: 'resume.stop',
  MemoryStoreOptions: 'memoryStore',
  RedisStoreOptions: 'redisStore',
}

const nested = ['timeouts', 'writer', 'relay', 'cleanup', 'detect', 'adopt']

/** The names of a type's options; those of an object among them with its name in front. */
function optionsOf(type: ts.Type, isNested: boolean): string[] {
  return checker.getPropertiesOfType(type).flatMap((option) => {
    if (!isNested || !nested.includes(option.name)) return [option.name]
    const choices = checker.getNonNullableType(checker.getTypeOfSymbol(option))
    const objects = (choices.isUnion() ? choices.types : [choices]).filter(
      (choice) => choice.flags & ts.TypeFlags.Object && choice.getCallSignatures().length === 0,
    )
    const inner = objects.flatMap((object) => checker.getPropertiesOfType(object))
    return [option.name, ...inner.map(({ name }) => `${option.name}.${name}`)]
  })
}

describe('docs/OPTIONS.md', async () => {
  const sections = sectionsOf(await readFile('docs/OPTIONS.md', 'utf8'))
  const types = Object.values(entries).flatMap((file) =>
    exportsOf(file).filter(({ name }) => name.endsWith('Options')),
  )
  const known = new Map<string, Set<string>>()
  for (const symbol of types) {
    const place = places[symbol.name] ?? `nowhere, for ${symbol.name}`
    // These stand with their owner's name.
    if (symbol.name === 'AdoptOptions') continue
    const names = optionsOf(checker.getDeclaredTypeOfSymbol(aliased(symbol)), place === ofStreams)
    for (const name of names) known.set(place, (known.get(place) ?? new Set()).add(name))
  }

  test('has a place for each type of options', () => {
    expect(new Set(types.map(({ name }) => name))).toEqual(new Set(Object.keys(places)))
  })

  test('knows the options that are nested in others', () => {
    const all = known.get(ofStreams)
    expect(all).toContain('timeouts.clientStallMs')
    expect(all).toContain('writer.headersAfterMs')
    expect(all).toContain('relay.onTruncated')
    expect(all).toContain('cleanup.closeMs')
    expect(all).toContain('detect.paths')
    expect(all).toContain('adopt.onDisconnect')
    expect(all?.size).toBeGreaterThan(30)
  })

  test.each([...known])('%s: a heading for each option, and none for anything else', (place, options) => {
    const headings = sections.get(place)?.headings.filter((each) => each !== 'Switch parts off')
    expect(headings?.sort()).toEqual([...options].sort())
  })

  test('each says its type and default, or which one it is, and each stream option has an example', () => {
    for (const [place, { bodies }] of sections) {
      for (const [heading, body] of bodies) {
        if (heading === 'Switch parts off') continue
        expect(body, `${place}: ${heading}`).toMatch(/Type: .*Default: |see \[/s)
        if (place === ofStreams) expect(body, heading).toMatch(/^```ts\n.*^```/ms)
      }
    }
  })
})

function aliased(symbol: ts.Symbol): ts.Symbol {
  return symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol
}
