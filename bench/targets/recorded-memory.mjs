import { createResume } from 'unhang/resume'
import { toChunk } from './to-chunk.mjs'
import { serve } from './unhang.mjs'

const resume = createResume({ owner: false })

export const start = serve((stream, upstream) => stream.relay(upstream, toChunk), { resume })
