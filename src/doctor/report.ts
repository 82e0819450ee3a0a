import type { CheckResult } from './diagnosis.js'
import type { Diagnosis } from './doctor.js'

const signs = { ok: 'ok', finding: 'FINDING', unknown: '?' } as const

const checkWidth = 'line-separators'.length

/** A result as a line of a table. */
export function describeResult({ check, outcome, evidence }: CheckResult): string {
  return `${signs[outcome].padEnd(8)} ${check.padEnd(checkWidth)}  ${evidence}`
}

/** The problem, its evidence, and its fix. */
export function describeFindings({ checks }: Diagnosis): string {
  const findings = checks.filter(({ outcome }) => outcome === 'finding')
  const sawFaults = checks.some(({ check }) => check.startsWith('FM-'))
  const notSeen = sawFaults
    ? ''
    : ' (An upstream that breaks was not seen: try --faults, or unhang gauntlet.)'
  const summary =
    findings.length === 0
      ? `No cause of hang-ups was found.${notSeen}`
      : findings.length === 1
        ? 'One finding.'
        : `${findings.length} findings.`
  return ['', ...findings.flatMap(describeFinding), summary].join('\n')
}

function describeFinding({ check, finding, evidence, fix, page }: CheckResult): string[] {
  return [
    check,
    `  finding   ${finding}`,
    `  evidence  ${evidence}`,
    `  fix       ${fix}`,
    `  page      ${page}`,
    '',
  ]
}
