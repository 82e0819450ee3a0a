import { defineConfig } from 'vitest/config'

/** Tests that start a `redis-server`, which not every machine has: `npm run test:redis`. */
export default defineConfig({
  test: {
    include: ['test/resume/redis/*.test.ts'],
    setupFiles: ['test/support/warnings.ts'],
    maxWorkers: 2,
    testTimeout: 20_000,
  },
})
