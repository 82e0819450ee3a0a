import { createServer } from 'node:http'
import { expect, test } from 'vitest'
import { alignServerTimeouts } from '../../src/index.js'

test('a keep-alive that is shorter than the load balancer’s is lengthened, and that is said', () => {
  const server = createServer({ keepAliveTimeout: 5_000 })
  const [finding, ...more] = alignServerTimeouts(server)
  expect(more).toEqual([])
  expect(finding).toMatchObject({ setting: 'keepAliveTimeout', valueMs: 5_000, setToMs: 65_000 })
  expect(finding?.message).toContain('5000 ms')
  expect(finding?.message).toContain('It is now 65000 ms.')
  expect(server.keepAliveTimeout).toBe(65_000)
  expect(alignServerTimeouts(server)).toEqual([])
})

test('for another load balancer, another length; apply: false only says so', () => {
  const server = createServer({ keepAliveTimeout: 65_000 })
  expect(alignServerTimeouts(server, { idleMs: 600_000, apply: false })).toMatchObject([
    { setToMs: undefined },
  ])
  expect(server.keepAliveTimeout).toBe(65_000)
  alignServerTimeouts(server, { idleMs: 600_000 })
  expect(server.keepAliveTimeout).toBe(605_000)
})

test('0, which is for ever, is left alone', () => {
  expect(alignServerTimeouts(createServer({ keepAliveTimeout: 0 }))).toEqual([])
})

test('FM-42: a server.timeout that a silence between heartbeats exceeds', () => {
  const server = createServer({ keepAliveTimeout: 65_000 })
  server.timeout = 20_000
  expect(alignServerTimeouts(server)).toMatchObject([
    { setting: 'timeout', valueMs: 20_000, setToMs: undefined },
  ])
  server.on('timeout', () => {})
  expect(alignServerTimeouts(server).at(-1)?.message).toContain("'timeout' listener")
  server.timeout = 60_000
  server.removeAllListeners('timeout')
  expect(alignServerTimeouts(server)).toEqual([])
})

test('timers that are never kept, or not exactly', () => {
  const never = createServer({ keepAliveTimeout: 65_000, requestTimeout: 0, headersTimeout: 0 })
  expect(alignServerTimeouts(never)).toMatchObject([{ setting: 'requestTimeout' }])
})

test('bad options are named', () => {
  expect(() => alignServerTimeouts(createServer(), { idleMs: 0 })).toThrow('idleMs must be')
})
