// Makes `.frameworks`: the apps of test/projects/frameworks, with the frameworks and with unhang as it would be published.
import { execFileSync } from 'node:child_process'
import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const folder = '.frameworks'
const quiet = ['--no-audit', '--no-fund', '--silent', '--prefix', folder]
const npm = (...args) => execFileSync('npm', args, { stdio: ['ignore', 'pipe', 'inherit'], encoding: 'utf8' })

const place = mkdtempSync(join(tmpdir(), 'unhang-frameworks-'))
try {
  const packed = npm('pack', '--json', '--ignore-scripts', '--pack-destination', place)
  const [{ filename }] = JSON.parse(packed.slice(packed.indexOf('[')))
  cpSync('test/projects/frameworks', folder, { recursive: true })
  npm('ci', ...quiet)
  npm('install', '--no-save', ...quiet, join(place, filename))
  npm('run', 'build', '--prefix', folder)
} finally {
  rmSync(place, { recursive: true })
}
