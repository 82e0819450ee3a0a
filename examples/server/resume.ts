import type { IncomingMessage } from 'node:http'
import { createClient } from 'redis'
import { createResume, memoryStore, type Resume, redisStore } from 'unhang/resume'
import { bearerKey } from './access.js'
import type { Settings } from './environment.js'

/** Koa's functions get a context, those of Express the request. */
type AppRequest = IncomingMessage | { req: IncomingMessage }

/** A stream belongs to whoever has its key. Without a key, clients are told apart by the ids of their streams alone. */
export function openResume(place: NonNullable<Settings['resume']>): Resume {
  return createResume<AppRequest>({
    store: place === 'memory' ? memoryStore() : redisStore(connect(place)),
    owner: (request) => bearerKey('req' in request ? request.req : request) ?? 'without a key',
  })
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
