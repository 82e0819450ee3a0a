import type {
  Followed,
  RecordedStream,
  RecorderEvents,
  ResumeStore,
  StoredEnd,
} from '../../../src/resume/resume-store.js'

/** Long enough to be deflated, and no two alike. */
export const event = (number: number) =>
  `data: {"id":"chatcmpl-1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"word ${number} "}}]}\n\n`

export const completed: StoredEnd = { outcome: 'completed', code: undefined, message: undefined }

export function about(limits: Partial<RecordedStream['limits']> = {}): RecordedStream {
  return {
    owner: undefined,
    dialect: 'openai-chat',
    framing: 'sse',
    requestId: 'request-1',
    model: undefined,
    limits: { maxBytes: 1024 * 1024, maxEvents: 10_000, ttlMs: 60_000, ...limits },
  }
}

/** Writes down the messages of a recorder. */
export function listening(): RecorderEvents & { readonly heard: string[] } {
  const heard: string[] = []
  return { heard, stop: (why) => heard.push(`stop ${why}`), fenced: () => heard.push('fenced') }
}

/** Follows a stream in the background, and checks each event against its number. */
export class Reading {
  readonly numbers: number[] = []
  readonly gaps: (readonly [number, number])[] = []
  end: StoredEnd | undefined
  readonly done: Promise<this>

  constructor(store: ResumeStore, id: string, { after = 0, signal = new AbortController().signal } = {}) {
    this.done = this.#read(store.follow(id, after, signal), after)
  }

  /** How far it is. */
  get had(): number {
    return Math.max(this.numbers.at(-1) ?? 0, this.gaps.at(-1)?.[1] ?? 0)
  }

  async #read(followed: AsyncIterable<Followed>, after: number): Promise<this> {
    for await (const each of followed) {
      if ('end' in each) this.end = each.end
      else if ('gap' in each) this.gaps.push(each.gap)
      else this.#take(each, after)
    }
    return this
  }

  #take({ events, first, last }: Extract<Followed, { last: number }>, after: number): void {
    let expected = ''
    for (let number = first; number <= last; number++) expected += event(number)
    if (events !== expected) throw new Error(`events ${first} to ${last} are not as they were`)
    for (let number = Math.max(first, this.had + 1, after + 1); number <= last; number++)
      this.numbers.push(number)
  }
}

/** 1, 2, … */
export function upTo(last: number): number[] {
  return Array.from({ length: last }, (_, at) => at + 1)
}
