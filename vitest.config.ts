import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // These need programs that not every machine has: `npm run test:installed`, `npm run test:redis`, and so on.
    exclude: [
      'test/installed/**',
      'test/sillytavern/**',
      'test/frameworks/**',
      'test/projects/**',
      'test/resume/redis/**',
      'test/runtimes/**',
    ],
    setupFiles: ['test/support/warnings.ts'],
    reporters: ['default', ['json', { outputFile: '.test-report.json' }]],
    // Two cores, and tests that mostly wait: with more workers the deadlines in them compete.
    maxWorkers: 3,
    testTimeout: 20_000,
  },
})
