import type { CheckResult } from './diagnosis.js'
import type { Diagnosis } from './doctor.js'

const signs = { ok: 'ok', finding: 'FINDING', unknown: '?' } as const

/** A diagnosis as text: a line for each check, then what was found, why it is said, and what to do. */
export function describeDiagnosis({ checks }: Diagnosis): string {
  const findings = checks.filter(({ outcome }) => outcome === 'finding')
  const width = Math.max(...checks.map(({ check }) => check.length))
  const lines = checks.map(
    ({ check, outcome, evidence }) => `${signs[outcome].padEnd(8)} ${check.padEnd(width)}  ${evidence}`,
  )
  const summary =
    findings.length === 0
      ? 'Nothing was found that hangs up.'
      : findings.length === 1
        ? 'One finding.'
        : `${findings.length} findings.`
  return [...lines, '', ...findings.flatMap(describeFinding), summary].join('\n')
}

function describeFinding({ check, finding, evidence, fix }: CheckResult): string[] {
  return [check, `  finding   ${finding}`, `  evidence  ${evidence}`, `  fix       ${fix}`, '']
}
