import { defineConfig } from 'vitest/config'

/** Clusters of three and processes that are killed: `npm run test:resume-long`. */
export default defineConfig({
  test: {
    include: ['test/resume/redis/*.long.ts'],
    setupFiles: ['test/support/warnings.ts'],
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 30_000,
  },
})
