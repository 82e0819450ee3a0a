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

/** The reader of ours that holds a stream, if one does. */
export function heldReader(stream: ReadableStream<Uint8Array>): Reader | undefined {
  return held.get(stream)
}

/** @returns `undefined` when somebody else holds it */
export function cancelHeld(stream: ReadableStream<Uint8Array>, reason: unknown): Promise<void> | undefined {
  if (!stream.locked) return stream.cancel(reason)
  return held.get(stream)?.cancel(reason)
}
