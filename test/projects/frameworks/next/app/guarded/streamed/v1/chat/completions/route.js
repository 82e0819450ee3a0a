import { guardResponse } from 'unhang/web'
import { chunksOf, eventStream, guard } from '../../../../../../../shared.js'

export async function POST(request) {
  const body = ReadableStream.from(chunksOf(await request.text(), request.signal))
  return guardResponse(new Response(body, { headers: eventStream }), { request, timeouts: guard?.timeouts })
}
