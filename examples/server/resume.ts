import type { IncomingMessage } from 'node:http'
import { createResume, memoryStore, type Resume } from 'unhang/resume'
import { bearerKey } from './access.js'

/** Koa's functions get a context, those of Express the request. */
type AppRequest = IncomingMessage | { req: IncomingMessage }

/** A stream belongs to the owner of its key. Without a key, only the ids of their streams tell clients apart. */
export function openResume(): Resume {
  return createResume<AppRequest>({
    store: memoryStore(),
    owner: (request) => bearerKey('req' in request ? request.req : request) ?? 'without a key',
  })
}
