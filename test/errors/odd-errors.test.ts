import { expect, test } from 'vitest'
import { describeError, describeText, describeTrace } from '../../src/diagnostics/describe-error.js'
import { toStreamError } from '../../src/errors/classify.js'
import { isStreamError } from '../../src/index.js'
import { oddValues } from '../support/odd-values.js'

// Not by test.each: it prints its values.
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

test('a printed error holds no key: neither one that its client hung on to it, nor one in a URL', () => {
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

test('text of a peer is quoted and cut', () => {
  expect(describeText('gpt\u001b[2J\n')).toBe('"gpt\\u001b[2J\\n"')
  // Text that runs backwards hides its meaning.
  expect(describeText('gpt\u202e\u2066\u009b')).toBe('"gpt\\u202e\\u2066\\u009b"')
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

test.each([
  ['Headers.append: "Bearer sk-0123456789\n" is an invalid header value.', 'Headers.append: "…" is'],
  ['authorization: Basic bWU6cGFzc3dvcmQ=', 'authorization: Basic …'],
  ['GET https://me:p@ss@example.com/v1?key=sk-1', 'GET https://example.com/v1'],
  ['The bearer certificate has expired.', 'The bearer certificate has expired.'],
])('a key in a message is not shown: %j', (message, shown) => {
  expect(describeError(new Error(message))).toContain(shown)
  expect(describeTrace(new Error(message))).not.toMatch(/sk-|cGFzc|p@ss/)
})

// An expression that looks back at each place would take a minute for each of these.
test.each(['a.', 'a-', ' ', '\n', '\n ', 'Bearer ', 'Bearer a', 'a://', 'a://@', '://?'])(
  'a long message is described in one pass: %j',
  (piece) => {
    const error = new Error(`${piece.repeat(100_000)}end`)
    expect(describeError(error)).toMatch(/end$/)
    expect(describeTrace(error)).toContain('end\n    at ')
  },
)
