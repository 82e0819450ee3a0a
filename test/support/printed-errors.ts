import { expect, vi } from 'vitest'
import { isStreamError } from '../../src/index.js'

/** Hono's server prints why a body has broken off: that must be an error of unhang's, and nothing else. */
export function watchPrintedErrors(): Disposable {
  const print = vi.spyOn(console, 'error').mockImplementation(() => {})
  return {
    [Symbol.dispose]() {
      const printed = print.mock.calls
      print.mockRestore()
      for (const [error] of printed) expect(isStreamError(error), String(error)).toBe(true)
    },
  }
}
