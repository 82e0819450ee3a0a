import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'

export interface FakeUpstream {
  baseUrl: string
  close(): void
}

const answer =
  'A socket hang up is what a client says when the other side closes the connection before the answer is ' +
  'complete. Here that cannot happen: whatever becomes of the upstream, you get every token that arrived, and ' +
  'then an ending your client understands. 🎉'

/** A stand-in for Qolaba that speaks just what `shared` knows of its API: any key will do. */
export async function startFakeUpstream({ tokenMs = 40 } = {}): Promise<FakeUpstream> {
  const server = createServer((request, response) => {
    respond(request, response, tokenMs).catch(() => response.destroy())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  server.unref()
  const { port } = server.address() as AddressInfo
  return { baseUrl: `http://127.0.0.1:${port}/api/v1/studio`, close: () => server.close() }
}

async function respond(request: IncomingMessage, response: ServerResponse, tokenMs: number): Promise<void> {
  let text = ''
  for await (const chunk of request.setEncoding('utf8')) text += chunk
  const { pathname } = new URL(request.url ?? '/', 'http://stand-in')
  if (pathname.endsWith('/get-status')) return sendJson(response, 200, { status: 'ok' })
  if (!/^Bearer \S+/.test(request.headers.authorization ?? '')) {
    return sendJson(response, 401, { error: 'Unauthorized' })
  }
  const body = JSON.parse(text)
  const question = body.last_user_query ?? body.messages?.at(-1)?.content ?? ''
  const tokens = `You asked: “${question}”. ${answer}`.match(/\s*\S+/g) ?? []
  const usage = { promptTokens: String(question).split(/\s+/).length, completionTokens: tokens.length }
  if (pathname.endsWith('/chat/completions')) return complete(response, body, tokens, tokenMs)
  if (pathname.endsWith('/chat')) return sendJson(response, 200, { output: tokens.join(''), ...usage })
  if (!pathname.endsWith('/streamChat')) return sendJson(response, 404, { error: 'Not Found' })
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  for (const output of tokens) {
    if (response.destroyed) return
    response.write(`data: ${JSON.stringify({ output })}\n\n`)
    await wait(tokenMs)
  }
  response.end(`data: ${JSON.stringify({ output: null, ...usage })}\n\n`)
}

/** The OpenAI-compatible endpoint. */
async function complete(
  response: ServerResponse,
  { model, stream }: { model: string; stream?: boolean },
  tokens: readonly string[],
  tokenMs: number,
): Promise<void> {
  const head = { id: 'chatcmpl-stand-in', created: 0, model }
  if (!stream) {
    const message = { role: 'assistant', content: tokens.join('') }
    const choices = [{ index: 0, message, finish_reason: 'stop' }]
    return sendJson(response, 200, { ...head, object: 'chat.completion', choices })
  }
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  const send = (delta: object, finishReason: string | null = null) => {
    const choices = [{ index: 0, delta, finish_reason: finishReason }]
    response.write(`data: ${JSON.stringify({ ...head, object: 'chat.completion.chunk', choices })}\n\n`)
  }
  send({ role: 'assistant', content: '' })
  for (const content of tokens) {
    if (response.destroyed) return
    send({ content })
    await wait(tokenMs)
  }
  send({}, 'stop')
  response.end('data: [DONE]\n\n')
}

function sendJson(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}
