import { readdirSync } from 'node:fs'
import { defineConfig } from 'vitest/config'

const rooms = readdirSync('src', { withFileTypes: true }).filter((entry) => entry.isDirectory())

/** The tests that mirror `src/`, a folder for each of its folders. They need no build and start no processes. */
export default defineConfig({
  test: {
    include: rooms.map(({ name }) => `test/${name}/**/*.test.ts`),
    // These need a server: `npm run test:redis`.
    exclude: ['test/resume/redis/**'],
    setupFiles: ['test/support/warnings.ts'],
    maxWorkers: 2,
    testTimeout: 20_000,
  },
})
