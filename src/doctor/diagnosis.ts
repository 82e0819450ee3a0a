import { pageOf } from './pages.js'

/** The result of one check. */
export interface CheckResult {
  /** Its name, which stays the same from version to version. */
  check: string
  /** `unknown`: this response did not show it. */
  outcome: 'ok' | 'finding' | 'unknown'
  /** The evidence. */
  evidence: string
  /** The problem, for a finding. */
  finding?: string
  /** The fix, for a finding. */
  fix?: string
  /** Where to read more of a finding, in the package. */
  page?: string
}

/** A cause of hang-ups, as it can be reported and mended. */
export interface Cause {
  finding: string
  fix: string
}

export const ok = (check: string, evidence: string): CheckResult => ({ check, outcome: 'ok', evidence })

export const unknown = (check: string, evidence: string): CheckResult => ({
  check,
  outcome: 'unknown',
  evidence,
})

export const found = (check: string, cause: Cause, evidence: string): CheckResult => ({
  check,
  outcome: 'finding',
  evidence,
  ...cause,
  page: pageOf(check),
})
