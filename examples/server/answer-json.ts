import type { ServerResponse } from 'node:http'
import {
  respondWithError,
  StreamError,
  type StreamTimeouts,
  selectTimeoutProfile,
  TimeoutCoordinator,
} from 'unhang'

export interface JsonCall {
  signal: AbortSignal
  deadlines: TimeoutCoordinator
}

/**
 * A request that wants one JSON answer: the same deadlines, disconnect signal and errors as a stream, and
 * nothing of a stream on the wire.
 */
export async function answerJson(
  response: ServerResponse,
  work: (call: JsonCall) => Promise<object>,
  options: { model: string; timeouts: StreamTimeouts },
): Promise<void> {
  const defaults = selectTimeoutProfile({ streaming: false, model: options.model })
  using timeouts = new TimeoutCoordinator(options.timeouts, { defaults })
  const left = () => timeouts.settle(new StreamError('client_gone'))
  response.once('close', left)
  // A listener on a response that was left before is never called.
  if (response.closed || response.destroyed) left()
  try {
    const answer = await timeouts.run(work({ signal: timeouts.signal, deadlines: timeouts }))
    response.statusCode = 200
    response.setHeader('content-type', 'application/json; charset=utf-8')
    response.end(JSON.stringify(answer))
  } catch (error) {
    respondWithError(error, response, { dialect: 'openaiChat' })
  } finally {
    response.off('close', left)
  }
}
