import { WholeCharacters } from '../framing/bytes.js'
import type { AbortSignalLike } from '../timeouts/stop-signal.js'
import { type ChunkReading, type ChunkSink, NodeChunks } from './node-chunks.js'
import { isNodeReadable, type UpstreamBody } from './source.js'
import { readChunks } from './web-chunks.js'

/**
 * Hands the chunks of an upstream on as they come, to a sink. Chunks that had already arrived are handed out before an
 * error is thrown; the upstream is not destroyed.
 *
 * @throws StreamError of an `upstream_*` outcome when the upstream breaks; the signal's reason when it aborts; an error of
 *   the sink
 */
export function eachChunk(
  body: UpstreamBody,
  signal: AbortSignalLike | undefined,
  sink: ChunkSink,
): ChunkReading {
  return isNodeReadable(body) ? new NodeChunks(body, signal, sink) : new IteratedChunks(body, signal, sink)
}

class IteratedChunks implements ChunkReading {
  readonly taken: Promise<void>
  readonly #chunks: AsyncGenerator<Uint8Array | string, void>
  readonly #strings = new WholeCharacters()
  /** Set while no reader wants the next one. */
  #resume: (() => void) | undefined

  constructor(body: UpstreamBody, signal: AbortSignalLike | undefined, sink: ChunkSink) {
    this.#chunks = readChunks(body, signal)
    this.taken = this.#takeAll(sink)
  }

  resume(): void {
    this.#resume?.()
    this.#resume = undefined
  }

  stop(): Promise<unknown> | undefined {
    const isPaused = this.#resume !== undefined
    const stopped = this.#chunks.return().catch(() => {})
    this.resume()
    // A read that is under way may never come to an end.
    return isPaused ? stopped : undefined
  }

  async #takeAll(sink: ChunkSink): Promise<void> {
    for await (const chunk of this.#chunks) {
      const wait = sink.take(typeof chunk === 'string' ? this.#strings.whole(chunk) : chunk)
      if (wait === false) return
      if (wait === 'pause') {
        await new Promise<void>((resolve) => {
          this.#resume = resolve
        })
      } else if (wait && (await wait) === false) return
    }
  }
}
