import { toStreamError } from '../errors/classify.js'
import type { AbortSignalLike } from '../timeouts/stop-signal.js'
import type { UpstreamBody } from './source.js'

/**
 * The chunks of an upstream that is not a Node stream, as they come. Chunks that had already arrived are handed out before an
 * error is thrown; leaving the loop early does not destroy the upstream (a finished one may be worth keeping).
 *
 * @throws StreamError of an `upstream_*` outcome when the upstream breaks; the signal's reason when it aborts
 */
export async function* readChunks(
  body: UpstreamBody,
  signal?: AbortSignalLike,
): AsyncGenerator<Uint8Array | string, void> {
  if (body instanceof ReadableStream && body.locked)
    throw new TypeError('the upstream body has already been read, or is locked by another reader')
  const isStream = body instanceof ReadableStream
  try {
    if (isStream) yield* readWebStream(body, signal)
    else yield* readIterable(body as AsyncIterable<Uint8Array | string>, signal)
  } catch (error) {
    if (signal?.aborted) throw signal.reason
    // A stream that breaks is the upstream's doing; a generator may simply have a bug.
    throw toStreamError(error, isStream ? 'upstream_hangup' : 'internal')
  }
}

async function* readWebStream(
  stream: ReadableStream<Uint8Array>,
  signal: AbortSignalLike | undefined,
): AsyncGenerator<Uint8Array> {
  const reader = holdReader(stream)
  // Cancelling is the one way to end a read() that waits.
  const cancel = () => void cancelHeld(stream, signal?.reason)?.catch(() => {})
  signal?.addEventListener('abort', cancel)
  try {
    for (;;) {
      if (signal?.aborted) throw signal.reason
      const { done, value } = await reader.read()
      if (done) {
        if (signal?.aborted) throw signal.reason
        return
      }
      yield value
    }
  } finally {
    signal?.removeEventListener('abort', cancel)
    releaseReader(stream)
  }
}

async function* readIterable(
  iterable: AsyncIterable<Uint8Array | string>,
  signal: AbortSignalLike | undefined,
): AsyncGenerator<Uint8Array | string> {
  const iterator = iterable[Symbol.asyncIterator]()
  let wake: () => void = () => {}
  const onAbort = () => wake()
  signal?.addEventListener('abort', onAbort)
  let exhausted = false
  try {
    for (;;) {
      if (signal?.aborted) throw signal.reason
      // A promise for each turn: one that lives on would keep every result that raced against it.
      const result = await new Promise<IteratorResult<Uint8Array | string> | undefined>((resolve, reject) => {
        wake = () => resolve(undefined)
        iterator.next().then(resolve, reject)
      })
      if (result === undefined) throw signal?.reason
      if (result.done) {
        exhausted = true
        return
      }
      yield result.value
    }
  } finally {
    signal?.removeEventListener('abort', onAbort)
    // Not awaited: a generator that waits for its own upstream settles when it settles.
    if (!exhausted) void Promise.resolve(iterator.return?.()).catch(() => {})
  }
}

type Reader = ReadableStreamDefaultReader<Uint8Array>

const held = new WeakMap<ReadableStream<Uint8Array>, Reader>()

/** Locks a web stream and remembers by whom: only its reader can end a stream that is being read. */
export function holdReader(stream: ReadableStream<Uint8Array>): Reader {
  const reader = stream.getReader()
  held.set(stream, reader)
  return reader
}

export function releaseReader(stream: ReadableStream<Uint8Array>): void {
  held.get(stream)?.releaseLock()
  held.delete(stream)
}

/** The reader of unhang that holds a stream, if one does. */
export function heldReader(stream: ReadableStream<Uint8Array>): Reader | undefined {
  return held.get(stream)
}

/** @returns `undefined` when other code holds it */
export function cancelHeld(stream: ReadableStream<Uint8Array>, reason: unknown): Promise<void> | undefined {
  if (!stream.locked) return stream.cancel(reason)
  return held.get(stream)?.cancel(reason)
}
