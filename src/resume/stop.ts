import { log } from '../diagnostics/channels.js'
import { describeError } from '../diagnostics/describe-error.js'
import { checkFunction, checkNames } from '../errors/bad-input.js'
import { idInPath, type ResumeHandler, toHandler } from './handler.js'
import type { OwnedStreams } from './owned-streams.js'
import { nothing, refuse, unavailable, unknownStream } from './refusals.js'

/**
 * The options of `resume.stop()`.
 *
 * @example
 * const options: StopOptions<{ params: { chat: string } }> = { streamId: ({ params }) => params.chat }
 */
// biome-ignore lint/suspicious/noExplicitAny: it depends on where the handler is mounted
export interface StopOptions<AppRequest = any> {
  /**
   * Finds the id of the stream.
   *
   * @defaultValue the parameter `id` of the path, else the last part of the path
   */
  streamId?: ((request: AppRequest) => string | undefined | PromiseLike<string | undefined>) | undefined
}

/** @throws TypeError that names the option and the value */
export function stopHandler(streams: OwnedStreams, options: StopOptions = {}): ResumeHandler {
  checkNames(options, { owner: 'options.', names: ['streamId'] })
  checkFunction('streamId', options.streamId)
  return toHandler('stop()', async (call) => {
    const { app, path } = call
    call.stepAside()
    try {
      const id = options.streamId ? await options.streamId(app) : idInPath(call)
      const found = await streams.find(id, app)
      if (!found || id === undefined) return refuse(unknownStream, path)
      if (!found.end) await streams.store.stop(id)
      return nothing
    } catch (error) {
      log.stream('a stream cannot be stopped: %s', () => describeError(error))
      return refuse(unavailable, path)
    }
  })
}
