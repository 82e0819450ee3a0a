import { chunksOf } from '../../../../../../shared.js'

export default async function handler(request, response) {
  response.setHeader('Content-Type', 'text/event-stream')
  for await (const chunk of chunksOf(request.body)) response.write(chunk)
  response.end()
}
