import { guardResponse } from 'unhang/web'
import { ask, eventStream, guard } from '../../../../../../../shared.js'

export async function POST(request) {
  const { body } = await ask(await request.text())
  return guardResponse(new Response(body, { headers: eventStream }), { request, timeouts: guard?.timeouts })
}
