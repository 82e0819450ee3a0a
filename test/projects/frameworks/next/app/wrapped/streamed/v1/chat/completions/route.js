import { getSignal, wrapApp } from 'unhang/web'
import { chunksOf, eventStream, guard } from '../../../../../../../shared.js'

export const POST = wrapApp(
  async (request) => {
    const body = ReadableStream.from(chunksOf(await request.text(), getSignal(request)))
    return new Response(body, { headers: eventStream })
  },
  { timeouts: guard?.timeouts },
)
