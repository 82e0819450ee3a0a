import { describe } from 'vitest'
import { testAccounts } from './contract/accounts.js'
import { testEndings } from './contract/endings.js'
import { testHeadHooks } from './contract/head-hooks.js'
import type { Mount } from './contract/mount.js'
import { testRequestId } from './contract/request-id.js'
import { testSwitches } from './contract/switches.js'
import { testWire } from './contract/wire.js'

/** The sentences every adapter and the guard must keep. */
export function describeContract(mount: Mount): void {
  describe(mount.name, () => {
    testEndings(mount)
    testAccounts(mount)
    testRequestId(mount)
    testWire(mount)
    if (!mount.isFetch) testHeadHooks(mount)
    testSwitches(mount)
  })
}
