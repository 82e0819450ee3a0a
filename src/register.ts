// node --import unhang/register server.js
import { createRequire } from 'node:module'
import { resolve } from 'node:path'
import { describeError } from './diagnostics/describe-error.js'
import { shown } from './errors/bad-input.js'
import { hearFastifyHandlers } from './guard/fastify-handlers.js'
import { guardServers } from './guard/guard-servers.js'
import { type GuardOptions, type GuardSettings, readGuardOptions } from './guard/request.js'
import { processWide } from './registry.js'

/** Work that `--import` and `--require` together, or two copies of unhang, would do twice. */
const registered = processWide('registered', () => ({ isDone: false }))

const readers = { UNHANG_OPTIONS: parse, UNHANG_CONFIG: load }

/** @throws Error that names the variable, and then the option and the value */
function readEnvironment(): GuardSettings {
  const [first, second] = Object.entries(readers).filter(([name]) => process.env[name])
  if (!first) return readGuardOptions()
  const [name, read] = first
  if (second) throw new TypeError(`write either ${name} or ${second[0]}, not both`)
  try {
    return readGuardOptions(read(process.env[name] ?? '') as GuardOptions)
  } catch (error) {
    throw new TypeError(`${name}: ${describeError(error).replace(/^TypeError: /, '')}`)
  }
}

function parse(json: string): unknown {
  try {
    return JSON.parse(json)
  } catch {
    throw new TypeError(`the options must be JSON, got ${shown(json)}`)
  }
}

/** Its default export, or what it exports. */
function load(file: string): unknown {
  const path = resolve(file)
  const loaded = createRequire(path)(path)
  return (loaded as { default?: unknown }).default ?? loaded
}

/** The variables are for a server: in npm, or in a build, which they reach as well, they must not end or print anything. */
function register(): void {
  let read: GuardSettings | undefined
  let line = 'the servers of this process are guarded (unhang/register); UNHANG_QUIET=1 hides this line'
  let isHidden = Boolean(process.env.UNHANG_QUIET)
  try {
    read = readEnvironment()
  } catch (error) {
    line = `the servers of this process are not guarded. ${(error as Error).message}`
    isHidden = false
  }
  if (read) hearFastifyHandlers()
  guardServers(read, () => {
    if (!isHidden) console.error(`unhang: ${line}`)
    isHidden = true
  })
}

if (!registered().isDone) {
  registered().isDone = true
  register()
}
