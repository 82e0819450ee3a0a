import type { RequestListener } from 'node:http'
import type { ProxyDeadlines } from '../../../src/command/gauntlet/deadlines.js'
import { clientMutants } from './clients.js'
import { deadlineMutants } from './deadlines.js'
import { endingMutants } from './endings.js'
import { statusMutants } from './statuses.js'

/** A good proxy with one defect. */
export interface Mutant {
  /** The failure mode that it does not handle. */
  readonly mode: string
  /** The finding that the gauntlet must make: trial and verdict. */
  readonly says: Readonly<Record<string, string>>
  /** Where its deadlines are others. */
  readonly deadlines?: Partial<ProxyDeadlines>
  proxy(url: string): RequestListener
}

export const mutants: Readonly<Record<string, Mutant>> = {
  ...endingMutants,
  ...deadlineMutants,
  ...statusMutants,
  ...clientMutants,
}
