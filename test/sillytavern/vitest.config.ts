import { defineConfig } from 'vitest/config'

/** Tests with SillyTavern itself, which is large: `npm run test:sillytavern`. */
export default defineConfig({
  test: {
    include: ['test/sillytavern/*.test.ts'],
    setupFiles: ['test/support/warnings.ts'],
    // They share SillyTavern's folder, where its server builds its page when it starts.
    fileParallelism: false,
    testTimeout: 60_000,
    hookTimeout: 180_000,
  },
})
