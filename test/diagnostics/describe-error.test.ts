import { expect, test } from 'vitest'
import { describeError, describeTrace } from '../../src/diagnostics/describe-error.js'

/** Node's own message of a call that went wrong, with the caller's secrets in it. */
const calls: Record<string, () => Promise<unknown>> = {
  'a key with a line break': () =>
    fetch('http://127.0.0.1:9', { headers: { 'x-api-key': 'sk-ant-SECRET1\nsk-ant-SECRET2' } }),
  'a token with a line break': () =>
    fetch('http://127.0.0.1:9', { headers: { Authorization: 'Bearer SECRET1abc\nSECRET2' } }),
  'a URL without a scheme': () => fetch('api.example.com/v1?key=SECRETKEY'),
  'a path alone': () => fetch('/v1beta/models?alt=sse&key=SECRETKEY'),
  'a prompt that is not JSON': async () => JSON.parse('SECRET plans of mine'),
  'a prompt that is nearly JSON': async () => JSON.parse('{"prompt": SECRET plans of mine, and more}'),
  'a key in a sentence': async () => {
    throw new Error('Incorrect API key provided: sk-proj-SECRET_KEY-1 or AIzaSECRETKEY')
  },
}

test.each(Object.entries(calls))('%s is not printed', async (_what, call) => {
  const error = await call().then(
    () => undefined,
    (thrown) => thrown,
  )
  expect(error).toBeInstanceOf(Error)
  expect(describeError(error)).not.toContain('SECRET')
  expect(describeTrace(error)).not.toContain('SECRET')
  expect(describeError(error)).toMatch(/^\w*Error/)
})

test('a sentence with a question in it is printed whole', () => {
  expect(describeError(new Error('Who knows? "none" does = fine'))).toBe(
    'Error: Who knows? "none" does = fine',
  )
})
