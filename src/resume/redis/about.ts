import type { RecordedStream } from '../resume-store.js'

/** The facts that stand in Redis under a stream's id. */
export interface AboutRecording {
  /** Which recording it is, and of which process. */
  readonly run: string
  readonly about: RecordedStream
  /** The name of the key that its events are sealed with. */
  readonly sealedWith: string | undefined
}

export function writeAbout({ run, about, sealedWith }: AboutRecording): string {
  return JSON.stringify({ run, sealedWith, ...about })
}

export function readAbout(bytes: Buffer): AboutRecording {
  const { run, sealedWith, owner, dialect, framing, requestId, model, limits } = JSON.parse(String(bytes))
  // JSON has no Infinity.
  const limit = (value: number | null) => value ?? Number.POSITIVE_INFINITY
  const { maxBytes, maxEvents, ttlMs } = limits
  return {
    run,
    sealedWith,
    about: {
      owner,
      dialect,
      framing,
      requestId,
      model,
      limits: { maxBytes: limit(maxBytes), maxEvents: limit(maxEvents), ttlMs: limit(ttlMs) },
    },
  }
}
