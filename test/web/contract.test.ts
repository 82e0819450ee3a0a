import { describeContract } from '../support/adapter-contract.js'
import { webMounts } from '../support/web-mounts.js'

for (const mount of webMounts) describeContract(mount)
