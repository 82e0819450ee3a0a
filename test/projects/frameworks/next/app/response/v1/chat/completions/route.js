import { ask, eventStream } from '../../../../../../shared.js'

export async function POST(request) {
  const { body } = await ask(await request.text())
  return new Response(body, { headers: eventStream })
}
