import { Redis } from 'ioredis'
import { createClient, createClientPool, createSentinel } from 'redis'
import { describe, expect, test } from 'vitest'
import { redisStore } from '../../src/resume/redis/store.js'

const client = createClient()

describe('redisStore', () => {
  test.each([
    [{ prefix: 'a{b' }, 'options.prefix must be a string without spaces and braces, got "a{b"'],
    [{ prefix: '' }, 'options.prefix must be a string without spaces and braces, got ""'],
    [{ flushMs: 0 }, 'options.flushMs must be a number of milliseconds above 0, got 0'],
    [
      { flushMs: Number.POSITIVE_INFINITY },
      'options.flushMs must be a number of milliseconds above 0, got Infinity',
    ],
    [{ leaseMs: false }, 'options.leaseMs must be a number of milliseconds above 0, got false'],
    [{ leaseMs: '15s' }, 'options.leaseMs must be a number of milliseconds above 0, got "15s"'],
    [
      { seal: Buffer.alloc(16) },
      'options.seal must be 32 bytes, got 16 bytes; write randomBytes(32), and keep them',
    ],
    [{ seal: 'secret' }, 'options.seal must be 32 bytes, got string; write randomBytes(32), and keep them'],
    [{ prefx: 'a' }, 'options.prefx is not an option; did you mean prefix?'],
  ])('refuses %j', (options, message) => {
    expect(() => redisStore(client, options as object)).toThrow(new TypeError(message))
  })

  test.each([
    ['nothing', undefined],
    ['an address', 'redis://127.0.0.1'],
    ['options of a client', { url: 'redis://127.0.0.1' }],
    ['a pool', createClientPool()],
    ['a sentinel', createSentinel({ name: 'master', sentinelRootNodes: [{ host: '127.0.0.1', port: 1 }] })],
  ])('refuses %s', (_name, wrong) => {
    expect(() => redisStore(wrong as never)).toThrow(
      'client must be a client or a cluster of redis or ioredis',
    )
  })

  test('takes a client that is not connected yet, and undefined as not set', () => {
    redisStore(client, { prefix: undefined, flushMs: undefined, leaseMs: undefined, seal: undefined })
    redisStore(new Redis({ lazyConnect: true }), { seal: new Uint8Array(32) })
  })
})
