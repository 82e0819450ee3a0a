import { redisStore } from '../../../src/resume/redis/store.js'
import type { StoresUnderTest } from '../store-contract.js'
import type { ConnectedClient } from './clients.js'

let opened = 0

/** A store for the process that produces, and one for the process that reads, each with its own client. */
export async function openStores(connect: () => Promise<ConnectedClient>): Promise<StoresUnderTest> {
  const [first, second] = await Promise.all([connect(), connect()])
  // Each has streams of its own: tests choose ids.
  const options = { prefix: `test-${process.pid}-${opened++}`, flushMs: 25 }
  return {
    producer: redisStore(first.client, options),
    reader: redisStore(second.client, options),
    close() {
      first.close()
      second.close()
    },
  }
}
