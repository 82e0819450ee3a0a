/** What to wait for before the next one, be it for `resume`; `false`, also in the end, for no more. */
export type TakenChunk = Promise<unknown> | undefined | false | 'pause'

/** An object rather than a function: at the pace of tokens each closure of a stream is one more place in memory. */
export interface ChunkTaker {
  take(chunk: Uint8Array | string): TakenChunk
}

export interface ChunkReading {
  /** Settles when all chunks have been taken. */
  readonly taken: Promise<void>
  /** Goes on after a pause. */
  resume(): void
  /** Takes no more. @returns when nothing of it is held any longer, unless a read is under way */
  stop(): Promise<unknown> | undefined
}
