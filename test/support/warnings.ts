import { setImmediate } from 'node:timers/promises'
import { afterAll, expect } from 'vitest'

// Every vitest configuration names this file under `setupFiles`: it is run before each test file, in its process.

interface Announced {
  readonly pattern: RegExp
  readonly resolve: (warning: Error) => void
  came: boolean
}

const announced: Announced[] = []
const unexpected: string[] = []

/**
 * Announces a process warning to the test file that causes it, and waits for it. A warning that no test announced fails
 * the file; so does an announced one that does not come. The pattern is compared with the name and the message.
 */
export function expectWarning(pattern: RegExp): Promise<Error> {
  return new Promise((resolve) => {
    announced.push({ pattern, resolve, came: false })
  })
}

/** Announces what Node says of http-proxy, which http-proxy-middleware is built on, from version 22 on. */
export function expectHttpProxyWarning(): void {
  if (Number.parseInt(process.versions.node, 10) < 22) return
  void expectWarning(/^DeprecationWarning: The `util\._extend` API is deprecated/)
}

// Node's own listener prints. It still gets warnings that no test announced, as its trace helps to find the cause.
const printers = process.listeners('warning')
process.removeAllListeners('warning')
process.on('warning', (warning) => {
  const text = `${warning.name}: ${warning.message}`
  const matching = announced.filter(({ pattern }) => pattern.test(text))
  for (const expectation of matching) {
    expectation.came = true
    expectation.resolve(warning)
  }
  if (matching.length > 0) return
  unexpected.push(`${text} (in or just before: ${expect.getState().currentTestName ?? 'any test'})`)
  for (const print of printers) print.call(process, warning)
})

afterAll(async () => {
  // Node emits a warning one tick after its cause.
  await setImmediate()
  expect(unexpected, 'process warnings that no test announced with expectWarning').toEqual([])
  const missing = announced.filter(({ came }) => !came).map(({ pattern }) => String(pattern))
  expect(missing, 'announced process warnings that did not come').toEqual([])
})
