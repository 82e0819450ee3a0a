import { chunksOf, eventStream } from '../../../../../../shared.js'

export async function POST(request) {
  const chunks = chunksOf(await request.text())
  const body = new ReadableStream({
    async pull(controller) {
      const { value, done } = await chunks.next()
      if (done) controller.close()
      else controller.enqueue(value)
    },
  })
  return new Response(body, { headers: eventStream })
}
