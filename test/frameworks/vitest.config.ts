import { defineConfig } from 'vitest/config'

/** Tests with whole frameworks, which are large: `npm run test:frameworks`. */
export default defineConfig({
  test: {
    include: ['test/frameworks/*.test.ts'],
    setupFiles: ['test/support/warnings.ts'],
    fileParallelism: false,
    testTimeout: 30_000,
    hookTimeout: 60_000,
  },
})
