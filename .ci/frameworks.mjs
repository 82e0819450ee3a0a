// Installs the frameworks, and unhang as it would be published, for `npm run test:frameworks`; then builds what needs it.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const project = 'test/projects/frameworks'
const npm = (...args) => execFileSync('npm', args, { stdio: ['ignore', 'pipe', 'inherit'], encoding: 'utf8' })
const quiet = ['--no-audit', '--no-fund', '--silent', '--prefix', project]

const place = mkdtempSync(join(tmpdir(), 'unhang-frameworks-'))
try {
  const packed = npm('pack', '--json', '--ignore-scripts', '--pack-destination', place)
  const [{ filename }] = JSON.parse(packed.slice(packed.indexOf('[')))
  npm('ci', ...quiet)
  npm('install', '--no-save', ...quiet, join(place, filename))
  npm('run', 'build', '--prefix', project)
} finally {
  rmSync(place, { recursive: true })
}
