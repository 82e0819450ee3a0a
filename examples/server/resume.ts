import type { IncomingMessage } from 'node:http'
import {
  createResume,
  memoryStore,
  type RedisStoreOptions,
  type Resume,
  type ResumeStore,
  redisStore,
} from 'unhang/resume'
import { bearerKey } from './access.js'

/** Koa's functions get a context, those of Express the request. */
type AppRequest = IncomingMessage | { req: IncomingMessage }

/** A stream belongs to whoever has its key. Without a key, clients are told apart by the ids of their streams alone. */
export function openResume(store: ResumeStore): Resume {
  return createResume<AppRequest>({
    store,
    owner: (request) => bearerKey('req' in request ? request.req : request) ?? 'without a key',
  })
}

/** Streams are recorded in this process, or in a Redis, where every process finds them. */
export async function openStores(place: string): Promise<(options?: RedisStoreOptions) => ResumeStore> {
  if (place === 'memory') return () => memoryStore()
  const { createClient } = await import('redis')
  const client = createClient({ url: place })
  client.on('error', ({ message }) => console.error('Redis: %s', message))
  await client.connect()
  return (options) => redisStore(client, options)
}
