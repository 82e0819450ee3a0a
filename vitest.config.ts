import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // These need Chromium: `npm run test:browser`.
    exclude: ['test/browser/**'],
    reporters: ['default', ['json', { outputFile: '.test-report.json' }]],
    // Two cores: more workers would only make the deadlines in the tests compete for them.
    maxWorkers: 2,
    testTimeout: 20_000,
  },
})
