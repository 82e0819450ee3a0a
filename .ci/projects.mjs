// Installs what would be published into nine small projects, as strangers have them, and runs their tests.
import { execFile } from 'node:child_process'
import { cp, mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)
const npm = (args, cwd) => run('npm', args, { cwd, maxBuffer: 16 * 1024 * 1024 })
const place = await mkdtemp(join(tmpdir(), 'unhang-projects-'))
// The frameworks are large, and have tests of their own: `npm run test:frameworks`.
const projects = (await readdir('test/projects')).filter((project) => project !== 'frameworks')
/** What projects of one kind have in common. */
const programs = [
  [/^typescript-/, 'use.ts'],
  [/^jest/, 'use.test.js'],
]

async function tryOut(project, tarball) {
  const folder = join(place, project)
  await cp(join('test/projects', project), folder, { recursive: true })
  const [, program] = programs.find(([kind]) => kind.test(project)) ?? []
  await cp('test/programs/names.json', join(folder, 'names.json'))
  if (program) await cp(join('test/programs', program), join(folder, program))
  await npm(['install', '--no-audit', '--no-fund', '--prefer-offline', tarball], folder)
  await npm(['test'], folder)
}

const failures = []
try {
  const { stdout } = await npm(['pack', '--ignore-scripts', '--json', '--pack-destination', place], '.')
  const [{ filename, files }] = JSON.parse(stdout.slice(stdout.indexOf('[')))
  console.log(`${filename}: ${files.length} files`)
  const queue = [...projects]
  const work = async () => {
    for (let project = queue.shift(); project; project = queue.shift()) {
      const failure = await tryOut(project, join(place, filename)).then(
        () => undefined,
        (error) => error,
      )
      console.log(`${failure ? 'failed' : 'ok'}  ${project}`)
      if (failure) failures.push(`${project}:\n${failure.stdout ?? failure}\n${failure.stderr ?? ''}`)
    }
  }
  await Promise.all([work(), work()])
} finally {
  await rm(place, { recursive: true })
}
if (projects.length !== 9) failures.push(`there should be 9 projects, not ${projects.length}`)
for (const failure of failures) console.error(failure)
process.exitCode = failures.length > 0 ? 1 : 0
