import { defineConfig } from 'vitest/config'

/** Tests with programs that not every machine has, Chromium and nginx: `npm run test:installed`. */
export default defineConfig({
  test: {
    include: ['test/installed/*.test.ts'],
    setupFiles: ['test/support/warnings.ts'],
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
})
