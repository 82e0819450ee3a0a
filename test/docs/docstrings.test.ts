import { execFile } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import ts from 'typescript'
import { describe, expect, test } from 'vitest'
import { workshop } from '../support/workshop.js'

const run = promisify(execFile)

const entries = {
  unhang: 'src/index.ts',
  'unhang/express': 'src/adapters/express.ts',
  'unhang/fastify': 'src/adapters/fastify.ts',
  'unhang/koa': 'src/adapters/koa.ts',
  'unhang/resume': 'src/resume/index.ts',
  'unhang/testing': 'src/testing/index.ts',
}

/** Names that an example may use without an import; the value is a statement. */
const surroundings: Readonly<Record<string, string>> = {
  app: "declare const app: import('express').Application",
  createClient: "import { createClient } from 'redis'",
  createServer: "import { createServer } from 'node:http'",
  error: 'declare const error: unknown',
  express: "import express from 'express'",
  http: "import * as http from 'node:http'",
  https: "import * as https from 'node:https'",
  port: 'declare const port: number',
  request: "declare const request: import('express').Request",
  response: "declare const response: import('express').Response",
  server: "declare const server: import('node:http').Server",
  stream: "declare const stream: import('unhang').StreamContext",
  upstream: 'declare const upstream: Response',
  url: 'declare const url: string',
}

const koaSurroundings: Readonly<Record<string, string>> = {
  ...surroundings,
  app: "declare const app: import('koa')",
  bodyParser: "import bodyParser from 'koa-bodyparser'",
  context: "declare const context: import('koa').Context",
  router: "declare const router: import('@koa/router').RouterInstance",
}

const fastifySurroundings: Readonly<Record<string, string>> = {
  ...surroundings,
  app: "declare const app: import('fastify').FastifyInstance",
}

interface Documented {
  readonly entry: string
  readonly name: string
  readonly symbol: ts.Symbol
  /** Whether it is exported by `export type`, although it is a class. */
  readonly isTypeOnly?: boolean | undefined
}

const program = ts.createProgram(Object.values(entries), {
  module: ts.ModuleKind.NodeNext,
  moduleResolution: ts.ModuleResolutionKind.NodeNext,
  target: ts.ScriptTarget.ES2022,
  lib: ['lib.es2023.d.ts', 'lib.esnext.disposable.d.ts'],
  types: ['node'],
  strict: true,
  skipLibCheck: true,
})
const checker = program.getTypeChecker()

/** Each export under the name that it is imported by; one that two entries share counts for the first. */
const exported: Documented[] = Object.entries(entries).flatMap(([entry, path]) => {
  const module = checker.getSymbolAtLocation(program.getSourceFile(path) as ts.SourceFile) as ts.Symbol
  return checker.getExportsOfModule(module).map((symbol) => {
    const isAlias = (symbol.flags & ts.SymbolFlags.Alias) !== 0
    const isTypeOnly = symbol.declarations?.some(ts.isTypeOnlyExportDeclaration)
    return {
      entry,
      name: symbol.name,
      symbol: isAlias ? checker.getAliasedSymbol(symbol) : symbol,
      isTypeOnly,
    }
  })
})

const isValue = ({ symbol }: Documented) => (symbol.flags & ts.SymbolFlags.Value) !== 0
const isType = ({ symbol }: Documented) => (symbol.flags & ts.SymbolFlags.Type) !== 0
const isOptions = ({ name }: Documented) => /(Options|Timeouts|Hints)$/.test(name)

/** The properties and methods of interfaces and classes, inherited ones included, as far as they stand in src. */
const members: Documented[] = exported.filter(isType).flatMap(({ entry, name, symbol }) => {
  const type = checker.getDeclaredTypeOfSymbol(symbol)
  if (!type.isClassOrInterface() && !isOptions({ entry, name, symbol })) return []
  return checker
    .getPropertiesOfType(type)
    .filter(
      (member) =>
        !/^(__|#)/.test(member.name) &&
        member.declarations?.some((declaration) => {
          const { fileName } = declaration.getSourceFile()
          return fileName.includes('/src/') && !fileName.includes('node_modules')
        }),
    )
    .map((member) => ({ entry, name: `${name}.${member.name}`, symbol: member }))
})

const proseOf = ({ symbol }: Documented) =>
  ts.displayPartsToString(symbol.getDocumentationComment(checker)).trim()

const tagsOf = ({ symbol }: Documented, name: string) =>
  symbol
    .getJsDocTags(checker)
    .filter((tag) => tag.name === name)
    .map((tag) => ts.displayPartsToString(tag.text).trim())

const namesOf = (documented: Documented[]) => documented.map(({ entry, name }) => `${entry}: ${name}`)

describe('docstrings', () => {
  test('every export and every member has one', () => {
    expect(exported.length).toBeGreaterThan(90)
    expect(members.length).toBeGreaterThan(200)
    expect(namesOf([...exported, ...members].filter((each) => proseOf(each) === ''))).toEqual([])
  })

  test('every function, class and value has an @example, and so have all options', () => {
    const needsExample = exported.filter((each) => isValue(each) || isOptions(each))
    expect(namesOf(needsExample.filter((each) => tagsOf(each, 'example').length === 0))).toEqual([])
  })

  test('every option has its @defaultValue, or says what happens when it is "Not set"', () => {
    const owners = new Set(exported.filter(isOptions).map(({ name }) => name))
    const options = members.filter(
      ({ name, symbol }) =>
        owners.has(name.split('.')[0] ?? '') && (symbol.flags & ts.SymbolFlags.Optional) !== 0,
    )
    expect(options.length).toBeGreaterThan(60)
    const silent = options.filter(
      (each) => tagsOf(each, 'defaultValue').length === 0 && !/\bNot set\b/.test(proseOf(each)),
    )
    expect(namesOf(silent)).toEqual([])
  })

  test('no sentence has more than 25 words, or one that confuses a stranger', () => {
    const broken = [...exported, ...members].filter((each) => {
      const prose = proseOf(each)
        .replaceAll(/`[^`]*`/g, 'x')
        .replaceAll(/\{@link[^}]*\}/g, 'x')
      const isLong = prose.split(/(?<=[.;])\s/).some((sentence) => sentence.split(/\s+/).length > 25)
      const isStrange = /\b(tells?|told|head|nobody|whoever|whichever|calls? again)\b/i.test(prose)
      return isLong || isStrange
    })
    expect(namesOf(broken)).toEqual([])
  })

  test('every @example compiles', async () => {
    await using place = await workshop()
    const examples = [...exported, ...members].flatMap((each) =>
      tagsOf(each, 'example').map((code) => ({ ...each, code })),
    )
    expect(examples.length).toBeGreaterThan(60)
    for (const [index, { entry, name, code }] of examples.entries()) {
      const file = join(place.folder, `${index}-${name.replaceAll(/\W+/g, '-')}.ts`)
      await writeFile(file, `${preamble(code, entry)}${code}\nexport {}\n`)
    }
    const compiler = {
      extends: '../../tsconfig.json',
      compilerOptions: { exactOptionalPropertyTypes: true },
      include: ['*.ts'],
    }
    await writeFile(join(place.folder, 'tsconfig.json'), JSON.stringify(compiler))
    const result = await run('npx', ['tsc', '-p', place.folder]).catch((error) => error)
    expect(result.stdout).toBe('')
  }, 120_000)
})

/** Imports and declares the names that an example uses and does not declare itself: first of its own entry. */
function preamble(code: string, entry: string): string {
  const ofFramework: Record<string, typeof surroundings> = {
    'unhang/fastify': fastifySurroundings,
    'unhang/koa': koaSurroundings,
  }
  const known = ofFramework[entry] ?? surroundings
  const lines = [...freeNames(code)].map((name) => {
    const owners = exported.filter((each) => each.name === name)
    const owner = owners.find((each) => each.entry === entry) ?? owners[0]
    if (owner)
      return `import { ${isValue(owner) && !owner.isTypeOnly ? '' : 'type '}${name} } from '${owner.entry}'\n`
    return Object.hasOwn(known, name) ? `${known[name]}\n` : ''
  })
  return lines.join('')
}

function freeNames(code: string): Set<string> {
  const used = new Set<string>()
  const declared = new Set<string>()
  const visit = (node: ts.Node): void => {
    if (ts.isIdentifier(node)) {
      const { parent } = node
      const isMember =
        (ts.isPropertyAccessExpression(parent) && parent.name === node) ||
        (ts.isPropertyAssignment(parent) && parent.name === node) ||
        (ts.isBindingElement(parent) && parent.propertyName === node)
      const isDeclaration =
        (ts.isVariableDeclaration(parent) ||
          ts.isParameter(parent) ||
          ts.isBindingElement(parent) ||
          ts.isFunctionDeclaration(parent) ||
          ts.isImportClause(parent) ||
          ts.isImportSpecifier(parent)) &&
        parent.name === node
      if (isDeclaration) declared.add(node.text)
      else if (!isMember) used.add(node.text)
    }
    ts.forEachChild(node, visit)
  }
  visit(ts.createSourceFile('example.ts', code, ts.ScriptTarget.ES2022, true))
  return new Set([...used].filter((name) => !declared.has(name)))
}
