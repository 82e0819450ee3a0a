import type { Readable } from 'node:stream'
import { toStreamError } from './error-causes.js'
import { StreamError } from './errors.js'
import { isNodeReadable, type UpstreamBody } from './upstream-source.js'
import { cancelHeld, holdReader, releaseReader } from './web-readers.js'

/**
 * The chunks of an upstream as they come. What had already arrived is handed out before an error is thrown;
 * leaving the loop early does not destroy the upstream (a finished one may be worth keeping).
 *
 * @throws StreamError of an `upstream_*` outcome when the upstream breaks; the signal's reason when it aborts
 */
export async function* readChunks(
  body: UpstreamBody,
  signal?: AbortSignal,
): AsyncGenerator<Uint8Array | string, void> {
  if (body instanceof ReadableStream && body.locked) {
    throw new TypeError("the upstream's body is being read by somebody else, or has been read")
  }
  const isStream = isNodeReadable(body) || body instanceof ReadableStream
  try {
    if (isNodeReadable(body)) yield* readNodeStream(body, signal)
    else if (body instanceof ReadableStream) yield* readWebStream(body, signal)
    else yield* readIterable(body, signal)
  } catch (error) {
    if (signal?.aborted) throw signal.reason
    // A stream that breaks is the upstream's doing; a generator may simply have a bug.
    throw toStreamError(error, isStream ? 'upstream_hangup' : 'internal')
  }
}

/** Paused mode: Node joins what has come, and not reading is all the backpressure there is. */
async function* readNodeStream(
  stream: Readable,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  let failure: { error: unknown } | undefined
  let ended = stream.readableEnded
  let wake: () => void = () => {}
  const onReadable = () => wake()
  const onEnd = () => {
    ended = true
    wake()
  }
  const onError = (error: unknown) => {
    failure ??= { error }
    wake()
  }
  const onClose = () => {
    if (!ended) failure ??= { error: new StreamError('upstream_hangup') }
    wake()
  }
  // Of a reset or a garbled answer it is the request that says what happened; the answer is only "aborted".
  const { req: request } = stream as { req?: Partial<Readable> }
  if (typeof request?.on === 'function') request.on('error', onError)
  stream.on('readable', onReadable).on('end', onEnd).on('error', onError).on('close', onClose)
  signal?.addEventListener('abort', onReadable)
  try {
    if (stream.errored) onError(stream.errored)
    else if (stream.destroyed) onClose()
    for (;;) {
      if (signal?.aborted) throw signal.reason
      const chunk: Uint8Array | null = stream.read()
      if (chunk !== null) yield chunk
      else if (failure) throw failure.error
      else if (ended) return
      else {
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }
    }
  } finally {
    signal?.removeEventListener('abort', onReadable)
    stream.off('readable', onReadable).off('end', onEnd).off('close', onClose)
    // `onError` stays: an error that comes later, say of our own destroy(), must find a listener.
  }
}

async function* readWebStream(
  stream: ReadableStream<Uint8Array>,
  signal: AbortSignal | undefined,
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
  signal: AbortSignal | undefined,
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
