import { expect, test } from 'vitest'
import { selectTimeoutProfile, timeoutProfiles } from '../../src/index.js'

test('the plan’s numbers', () => {
  expect(timeoutProfiles.standard).toMatchObject({
    firstByteMs: 30_000,
    inactivityMs: 30_000,
    totalMs: 60_000,
  })
  expect(timeoutProfiles.streaming).toMatchObject({
    firstByteMs: 120_000,
    inactivityMs: 60_000,
    totalMs: 300_000,
  })
  expect(timeoutProfiles.advanced).toMatchObject({
    firstByteMs: 300_000,
    inactivityMs: 120_000,
    totalMs: 600_000,
  })
})

test('by the request', () => {
  expect(selectTimeoutProfile({ streaming: false })).toBe(timeoutProfiles.standard)
  expect(selectTimeoutProfile({ streaming: true })).toBe(timeoutProfiles.streaming)
  expect(selectTimeoutProfile({ streaming: true, model: 'gpt-4o' })).toBe(timeoutProfiles.streaming)
})

test.each([
  'o3-mini',
  'o1',
  'openai/o4-mini-2025-04-16',
  'gpt-5-mini',
  'claude-opus-4-20250514',
  'gemini-2.5-pro',
  'deepseek-r1',
  'deepseek-reasoner',
  'kimi-k2-thinking',
])('%s thinks before it answers', (model) => {
  expect(selectTimeoutProfile({ streaming: true, model })).toBe(timeoutProfiles.advanced)
  expect(selectTimeoutProfile({ streaming: false, model })).toBe(timeoutProfiles.advanced)
})

test.each([
  'gpt-4o',
  'gpt-4.1-mini-2025-04-14',
  'claude-sonnet-4-20250514',
  'llama-o1rca',
  'gemini-2.0-flash',
])('%s does not', (model) => {
  expect(selectTimeoutProfile({ streaming: true, model })).toBe(timeoutProfiles.streaming)
})

test('or the models of one’s own', () => {
  const options = { advancedModels: ['house-model', /^deep-/g] }
  expect(selectTimeoutProfile({ streaming: true, model: 'house-model' }, options)).toBe(
    timeoutProfiles.advanced,
  )
  for (let times = 0; times < 2; times++) {
    expect(selectTimeoutProfile({ streaming: true, model: 'deep-9' }, options)).toBe(timeoutProfiles.advanced)
  }
  expect(selectTimeoutProfile({ streaming: true, model: 'o3-mini' }, options)).toBe(timeoutProfiles.streaming)
})
