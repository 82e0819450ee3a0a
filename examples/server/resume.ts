import type { IncomingMessage } from 'node:http'
import { createClient } from 'redis'
import {
  createResume,
  memoryStore,
  type RedisStoreOptions,
  type Resume,
  type ResumeStore,
  redisStore,
} from 'unhang/resume'
import { bearerKey } from './access.js'
import type { Settings } from './environment.js'

/** The argument of an app's functions: in Koa and Hono a context, in Fastify a request of its own. */
type AppRequest =
  | IncomingMessage
  | { req: IncomingMessage }
  | { raw: IncomingMessage }
  | { env: { incoming: IncomingMessage } }

function incomingOf(request: AppRequest): IncomingMessage {
  if ('env' in request) return request.env.incoming
  if ('raw' in request) return request.raw
  return 'req' in request ? request.req : request
}

/** A stream belongs to the owner of its key. Without a key, only the ids of their streams tell clients apart. */
export function openResume(store: ResumeStore): Resume {
  return createResume<AppRequest>({
    store,
    owner: (request) => bearerKey(incomingOf(request)) ?? 'without a key',
  })
}

/** Opens stores in one place: in this process, or in a Redis, where every process finds their streams. */
export function openStores(
  place: NonNullable<Settings['resume']>,
): (options?: RedisStoreOptions) => ResumeStore {
  if (place === 'memory') return () => memoryStore()
  const redis = connect(place)
  return (options) => redisStore(redis, options)
}

/** Until Redis is there, and while it is gone, streams are served as they would be without it. */
function connect(url: URL) {
  const redis = createClient({ url: String(url) })
  let said: string | undefined
  redis.on('error', ({ message }: Error) => {
    // The client tries again and again.
    if (message !== said) console.error('Redis: %s', message)
    said = message
  })
  redis.connect().catch(() => {})
  return redis
}
