import { defineConfig } from 'vitest/config'

/** The same fetch handlers on Node, Bun and Deno: `npm run test:runtimes`. */
export default defineConfig({
  test: { include: ['test/runtimes/**/*.test.ts'], maxWorkers: 1, testTimeout: 60_000 },
})
