import { getSignal, wrapApp } from 'unhang/web'
import { ask, eventStream, guard } from '../../../../../../../shared.js'

export const POST = wrapApp(
  async (request) => {
    const { body } = await ask(await request.text(), getSignal(request))
    return new Response(body, { headers: eventStream })
  },
  { timeouts: guard?.timeouts },
)
