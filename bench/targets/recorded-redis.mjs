import { createClient } from 'redis'
import { createResume, redisStore } from 'unhang/resume'
import { toChunk } from './to-chunk.mjs'
import { serve } from './unhang.mjs'

export async function start(options) {
  const redis = createClient({ url: process.env.REDIS_URL })
  redis.on('error', console.error)
  await redis.connect()
  const resume = createResume({ store: redisStore(redis), owner: false })
  return serve((stream, upstream) => stream.relay(upstream, toChunk), { resume })(options)
}
