import type { Context, MiddlewareHandler } from 'hono'
import { setAppRequest } from '../client/app-request.js'
import { readWebGuard, type WebGuardOptions } from '../web/guard-options.js'
import { guardRequest, skipRequest } from '../web/guard-request.js'
import { keepPrepared } from '../web/response-head.js'

export { getSignal, getStream } from '../stream/guarded-stream.js'
export { wrapApp } from '../web/wrap-app.js'

/**
 * The options of {@link guardStreams}; its functions get the context.
 *
 * @example
 * const options: GuardOptions = { skip: ({ req }) => req.path === '/health', writer: { heartbeatMs: 5_000 } }
 */
export type GuardOptions = WebGuardOptions<Context>

/**
 * Protects every route mounted after it, on any runtime; your handlers stay as they are.
 *
 * Every event stream that a handler returns gets the right headers, heartbeats and deadlines. If something fails
 * mid-stream, the client gets an error event and a clean end. Every other response stays as it is.
 *
 * @throws TypeError | RangeError that names the option and the value
 * @example
 * app.use(guardStreams())
 */
export function guardStreams(options: GuardOptions = {}, ...more: never[]): MiddlewareHandler {
  if (more.length > 0) throw new TypeError('write app.use(guardStreams()), with the parentheses')
  const { when, detect, isSkipped, settingsFor } = readWebGuard(options)
  return async (context, next) => {
    const call = {
      request: context.req.raw,
      bindings: context.env,
      async handle() {
        await next()
        // A context that no handler has responded to makes up a response when it is asked for one.
        return context.finalized ? context.res : (undefined as never)
      },
    }
    if (isSkipped(context)) return void (await skipRequest(call))
    if (options.resume) setAppRequest(context.req.raw, context)
    const response = await guardRequest({
      ...call,
      settings: settingsFor(context),
      when,
      detect,
      parsedBody: () => parsedBody(context),
      hasFailed: () => context.error !== undefined,
      failure: () => (isAnswered(context) ? undefined : context.error),
    })
    if (!response || response === context.res) return
    // A stream has the headers of its own response by now.
    if (!response.ok) keepPrepared(response.headers, context.res.headers)
    // Hono copies the headers of a response that is replaced into the new one, also those that are not true of it.
    context.res = undefined
    context.res = response
  }
}

/** The body, if the app has read it: Hono keeps what it has read. */
function parsedBody({ req }: Context): Promise<unknown> | undefined {
  const isRead = Object.keys(req.bodyCache).length > 0
  return isRead ? req.json().catch(() => undefined) : undefined
}

/** Whether the app has responded to an error, if there is one, in its own way: Hono's own response is a text. */
function isAnswered({ error, res }: Context): boolean {
  const isText = res.headers.get('content-type')?.startsWith('text/plain') === true
  return 'getResponse' in Object(error) || res.status !== 500 || !isText
}
