// Compiles test/programs/types.ts against what would be published: every TypeScript that is supported, every
// resolution of modules it has, the types of Express 4 and 5 and of Koa 2 and 3, strict and more than strict.
import { execFile } from 'node:child_process'
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)
const npm = (args, cwd) => run('npm', args, { cwd, maxBuffer: 16 * 1024 * 1024 })
const compilers = ['5.0', '5.2', '5.4', '5.6', '5.9', '6.0', '7.0']
const frameworks = {
  express4: ['@types/express@4', '@types/koa@2'],
  express5: ['@types/express@5', '@types/koa@3'],
}
const clients = ['axios@1', 'openai@6', 'undici@7', '@types/node@20']
const more = ['fastify@5', 'hono@4']
/** The file that is compiled decides whether it is a module of ESM or of CommonJS. */
const resolutions = [
  { moduleResolution: 'node16', module: 'node16', files: ['types.mts', 'types.cts'] },
  { moduleResolution: 'nodenext', module: 'nodenext', files: ['types.mts', 'types.cts'] },
  { moduleResolution: 'bundler', module: 'esnext', files: ['types.ts'] },
  // Deprecated in TypeScript 6, gone in 7.
  { moduleResolution: 'node10', module: 'commonjs', files: ['types.ts'], until: 6 },
]

const strict = { strict: true, exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true }

/** Errors in the declarations of other packages are theirs: old compilers cannot read all of them. */
function ours(output) {
  return output
    .split('\n')
    .filter((line) => /error TS/.test(line) && !/^(\.\.\/)*node_modules\/(?!unhang\/)/.test(line))
}

const place = await mkdtemp(join(tmpdir(), 'unhang-types-'))
const failures = []
let compiled = 0
try {
  const { stdout } = await npm(['pack', '--json', '--pack-destination', place], '.')
  const [{ filename }] = JSON.parse(stdout.slice(stdout.indexOf('[')))
  const quietly = [
    'install',
    '--no-audit',
    '--no-fund',
    '--prefer-offline',
    '--no-package-lock',
    '--legacy-peer-deps',
  ]
  await writeFile(join(place, 'package.json'), '{"private":true}')
  await npm([...quietly, ...compilers.map((version) => `ts${version}@npm:typescript@~${version}.0`)], place)
  const work = []
  for (const [framework, types] of Object.entries(frameworks)) {
    const folder = join(place, framework)
    await mkdir(folder)
    await writeFile(join(folder, 'package.json'), '{"private":true}')
    await npm([...quietly, ...types, ...clients, ...more, join(place, filename)], folder)
    for (const name of ['types.ts', 'types.mts', 'types.cts'])
      await cp('test/programs/types.ts', join(folder, name))
    for (const version of compilers) {
      for (const resolution of resolutions) work.push({ folder, framework, version, ...resolution })
    }
  }
  const compile = async () => {
    for (let next = work.shift(); next; next = work.shift()) {
      const { folder, framework, version, moduleResolution, module, files, until } = next
      if (until < Number(version)) continue
      const name = `${framework}, TypeScript ${version}, ${moduleResolution}`
      const compilerOptions = {
        ...strict,
        module,
        moduleResolution,
        target: 'es2022',
        lib: ['es2022'],
        types: ['node'],
        esModuleInterop: true,
        noEmit: true,
        ...(until === Number(version) && { ignoreDeprecations: '6.0' }),
      }
      const config = `tsconfig.${version}.${moduleResolution}.json`
      await writeFile(join(folder, config), JSON.stringify({ compilerOptions, files }))
      const tsc = join(place, 'node_modules', `ts${version}`, 'bin', 'tsc')
      const options = { cwd: folder, maxBuffer: 2 ** 26 }
      const { stdout, stderr, code } = await run(process.execPath, [tsc, '-p', config], options).catch(
        (failure) => failure,
      )
      const errors = ours(String(stdout))
      if (code && !/error TS/.test(stdout)) errors.push(String(stderr))
      compiled++
      console.log(`${errors.length > 0 ? 'failed' : 'ok'}  ${name}`)
      if (errors.length > 0) failures.push(`${name}:\n${errors.slice(0, 20).join('\n')}`)
    }
  }
  await Promise.all([compile(), compile()])
} finally {
  await rm(place, { recursive: true })
}
for (const failure of failures) console.error(failure)
console.log(`${compiled - failures.length} of ${compiled} compile`)
process.exitCode = failures.length > 0 || compiled < 50 ? 1 : 0
