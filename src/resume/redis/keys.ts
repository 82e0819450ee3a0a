/** The keys and the channel of one recording: all in one slot of a cluster, since they share what is in the braces. */
export interface RecordingKeys {
  /** The facts of the stream of this id, and which recording it is. */
  readonly about: string
  readonly events: string
  /** The dictionary that the events were deflated with. */
  readonly dictionary: string
  /** The channel on which they are published while a follower reads. */
  readonly tail: string
}

/** Names everything that the store keeps in Redis. */
export class RedisKeys {
  readonly #prefix: string

  constructor(prefix: string) {
    this.#prefix = prefix
  }

  about(id: string): string {
    // A brace in an id would end the part that is hashed.
    return `${this.#prefix}:{${encodeURIComponent(id)}}:m`
  }

  /** The recording is named too: an id that is used again shares no events with the stream before. */
  recording(id: string, run: string): RecordingKeys {
    const stream = `${this.#prefix}:{${encodeURIComponent(id)}}`
    return {
      about: `${stream}:m`,
      events: `${stream}:e:${run}`,
      dictionary: `${stream}:d:${run}`,
      tail: `${stream}:t:${run}`,
    }
  }

  /** There as long as the process lives. */
  lease(process: string): string {
    return `${this.#prefix}:lease:${process}`
  }

  /** The channel on which a process is called. */
  calls(process: string): string {
    return `${this.#prefix}:p:{${process}}`
  }
}

/** Which process records it. */
export function processOf(run: string): string {
  return run.slice(0, run.indexOf('.'))
}
