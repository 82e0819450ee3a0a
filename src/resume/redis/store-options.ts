import { checkNames, shown } from '../../errors/bad-input.js'

/**
 * The options of {@link redisStore}; times are in milliseconds.
 *
 * @example
 * redisStore(createClient(), { prefix: 'chat', leaseMs: 5_000 })
 */
export interface RedisStoreOptions {
  /** The prefix of all keys and channels. @defaultValue `'unhang'` */
  prefix?: string | undefined
  /** How long events wait for others that are sent together with them. @defaultValue `250` */
  flushMs?: number | undefined
  /** After so long without a sign of life, the streams of a process end as `producer_lost`. @defaultValue `15_000` */
  leaseMs?: number | undefined
  /** A key of 32 bytes: what is in Redis can be read with it alone (AES-256-GCM). @defaultValue no key */
  seal?: Uint8Array | undefined
}

/** @throws TypeError for a wrong option, by name and value */
export function readStoreOptions(options: RedisStoreOptions) {
  checkNames(options, { owner: 'options.', names: ['prefix', 'flushMs', 'leaseMs', 'seal'] })
  return {
    flushMs: readFinite('options.flushMs', options.flushMs ?? 250),
    leaseMs: readFinite('options.leaseMs', options.leaseMs ?? 15_000),
    prefix: readPrefix(options.prefix ?? 'unhang'),
    seal: readSeal(options.seal),
  }
}

function readFinite(name: string, value: unknown): number {
  // Neither may be switched off: nothing would be sent, or no death noticed.
  if (typeof value === 'number' && Number.isFinite(value) && value > 0) return value
  throw new TypeError(`${name} must be a number of milliseconds above 0, got ${shown(value)}`)
}

function readPrefix(prefix: unknown): string {
  // A brace would decide which part of a key is hashed in a cluster.
  if (typeof prefix === 'string' && /^[^{}\s]+$/.test(prefix)) return prefix
  throw new TypeError(`options.prefix must be a string without spaces and braces, got ${shown(prefix)}`)
}

function readSeal(seal: unknown): Uint8Array | undefined {
  if (seal === undefined || (seal instanceof Uint8Array && seal.length === 32)) return seal
  const got = seal instanceof Uint8Array ? `${seal.length} bytes` : typeof seal
  throw new TypeError(`options.seal must be 32 bytes, got ${got}; write randomBytes(32), and keep them`)
}
