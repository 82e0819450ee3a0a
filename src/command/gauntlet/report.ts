import { publicText } from '../../diagnostics/describe-error.js'
import type { RawClient } from '../../testing/index.js'
import type { GauntletReport, TrialResult } from './run.js'

/** The most lines of a response that `--verbose` shows. */
const maxLines = 40

const nameWidth = 'leaves before the headers'.length
const verdictWidth = 'silent truncation'.length

/** A result as a line of a table. */
export function describeTrial({ mode, name, verdict, evidence, passed, problem, must }: TrialResult): string {
  const said = must.includes(verdict) ? problem : `must be ${must.join(' or ')}`
  const columns = [
    passed ? 'ok  ' : 'FAIL',
    mode,
    name.padEnd(nameWidth),
    verdict.padEnd(verdictWidth),
    publicText(evidence),
  ]
  return columns.join('  ') + (said === undefined ? '' : `; ${said}`)
}

/** The bytes that a client got, line by line, indented below its row. */
export function describeWire(client: RawClient, mask: (text: string) => string): string {
  if (client.bytes.length === 0) return '      | (nothing)'
  const lines = mask(client.bytes.toString('latin1', 0, 256 * 1024)).split(/\r?\n/)
  const shown =
    lines.length > maxLines ? [...lines.slice(0, maxLines / 2), '…', ...lines.slice(-maxLines / 2)] : lines
  return shown.map((line) => `      | ${publicText(line).slice(0, 200)}`).join('\n')
}

/** The failed trials, the trials that were not made, and a line for a README. */
export function describeReport(report: GauntletReport, version: string, now: Date): string {
  const { results, leftOut } = report
  const failed = results.filter(({ passed }) => !passed)
  const why = [...new Set(leftOut.map(({ why }) => why))].map((reason) => {
    const names = leftOut.filter(({ why }) => why === reason).map(({ mode, name }) => `${mode} ${name}`)
    return `Left out (${reason}): ${names.join(', ')}.`
  })
  const findings = failed.flatMap(({ mode, name, given, verdict, must, problem }) => [
    `${mode} ${name}`,
    `  given  ${given}`,
    `  got    ${verdict}${must.includes(verdict) && problem ? `; ${problem}` : ''}`,
    `  must   ${must.join(' or ')}: docs/FAILURE-MODES.md, docs/GAUNTLET.md`,
  ])
  return ['', ...findings, ...(failed.length > 0 ? [''] : []), ...why, summary(report, version, now)].join(
    '\n',
  )
}

function summary({ results, api }: GauntletReport, version: string, now: Date): string {
  const passed = results.filter((result) => result.passed).length
  return `unhang gauntlet ${version}, ${now.toISOString().slice(0, 10)}, ${api}: ${passed} of ${results.length} passed.`
}

/** A report without sockets. */
export function toJson(
  { results, ...rest }: GauntletReport,
  { isVerbose, mask }: { isVerbose: boolean; mask: (text: string) => string },
): string {
  const rows = results.map(({ client, problem, ...result }) => ({
    ...result,
    ...(problem === undefined ? {} : { problem }),
    ...(isVerbose && client ? { wire: mask(client.bytes.toString('latin1', 0, 256 * 1024)) } : {}),
  }))
  return JSON.stringify({ ...rest, results: rows }, null, 2)
}
