import { expect, test } from 'vitest'
import { describeError, describeText, describeTrace } from '../../src/diagnostics/describe-error.js'
import { toStreamError } from '../../src/errors/classify.js'
import { isStreamError } from '../../src/index.js'
import { oddValues } from '../support/odd-values.js'

// Not by test.each: it prints what it is given.
for (const [what, error] of oddValues) {
  test(`${what} is described and classified, and nothing throws`, () => {
    expect(typeof describeError(error)).toBe('string')
    expect(typeof describeTrace(error)).toBe('string')
    expect(isStreamError(error)).toBe(false)
    const reason = toStreamError(error)
    expect(reason.outcome).toBe('internal')
    // Vitest's own matchers cannot look at a revoked proxy.
    expect(reason.cause === error).toBe(true)
    expect(typeof JSON.stringify(reason)).toBe('string')
  })
}

test('what is printed of an error holds no key: not what its client hung on to it, nor what stands in a URL', () => {
  const error = Object.assign(
    new Error('GET https://user:sk-secret@example.com/v1?key=sk-secret failed\n\u001b[2J'),
    { code: 'ERR', config: { headers: { Authorization: 'Bearer sk-secret' } } },
  )
  const wrapped = new Error('request failed', { cause: error })
  expect(describeError(error)).toBe('Error ERR: GET https://example.com/v1 failed \\u001b[2J')
  const trace = describeTrace(wrapped)
  expect(trace).toContain('Error: request failed\n    at ')
  expect(trace).toContain('caused by Error ERR: GET https://example.com/v1 failed')
  expect(trace).not.toContain('secret')
  const json = JSON.stringify(toStreamError(wrapped))
  expect(JSON.parse(json)).toMatchObject({
    outcome: 'internal',
    message: 'The server met an internal error.',
    cause: { name: 'Error', message: 'request failed' },
  })
})

test('what a peer controls is quoted and cut', () => {
  expect(describeText('gpt\u001b[2J\n')).toBe('"gpt\\u001b[2J\\n"')
  expect(describeText('x'.repeat(1_000))).toHaveLength(102)
  expect(describeText(undefined)).toBe('undefined')
})

test.each([
  ...['EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM'].map((code) => [code, 'connect', 'upstream_connect'] as const),
  ['EMFILE', 'open', 'internal'] as const,
])('%s of %s is %s', (code, syscall, outcome) => {
  const error = Object.assign(new Error('none left'), { code, syscall })
  expect(toStreamError(error)).toMatchObject({ outcome })
  if (syscall === 'connect') expect(toStreamError(error).retryable).toBe(true)
})
