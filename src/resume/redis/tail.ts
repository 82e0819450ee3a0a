import { systemClock } from '../../timeouts/clock.js'
import type { LogEntry } from './log.js'
import type { PackedForm } from './packing.js'

/** A message that is published for a stream. */
type TailMessage =
  | (LogEntry & { readonly length: number })
  | { readonly end: Buffer }
  | { readonly hello: true }

/** @param length how long the events are before they were packed */
export function writeTailEvents({ form, first, last, bytes }: LogEntry, length: number): Buffer {
  return Buffer.concat([Buffer.from(`${form} ${first} ${last} ${length}\n`), bytes])
}

export function writeTailEnd(end: Buffer): Buffer {
  return Buffer.concat([Buffer.from('e\n'), end])
}

/** Says that from now on what is recorded is published. */
export function writeTailHello(): Buffer {
  return Buffer.from('h\n')
}

function readTail(message: Buffer): TailMessage {
  const head = message.indexOf('\n')
  const [form, first, last, length] = message.toString('latin1', 0, head).split(' ')
  const bytes = message.subarray(head + 1)
  if (form === 'e') return { end: bytes }
  if (form === 'h') return { hello: true }
  return { form: form as PackedForm, first: Number(first), last: Number(last), length: Number(length), bytes }
}

/** The messages that one follower has heard and not read yet, within a bound: dropped events stand in the log. */
export class RedisTail {
  readonly #maxLength: number
  #messages: TailMessage[] = []
  #length = 0
  #hasDropped = false
  #isWoken = false
  #wake: (() => void) | undefined

  constructor(maxLength: number) {
    this.#maxLength = maxLength
  }

  push(bytes: Buffer): void {
    // Events that come after a dropped one stand in the log as well.
    if (!this.#hasDropped) this.#keep(readTail(bytes))
    this.wake()
  }

  #keep(message: TailMessage): void {
    if ('length' in message) this.#length += message.length
    if (this.#length <= this.#maxLength || this.#messages.length === 0) this.#messages.push(message)
    else this.#hasDropped = true
  }

  next(): TailMessage | undefined {
    const message = this.#messages.shift()
    if (message && 'length' in message) this.#length -= message.length
    return message
  }

  /** @returns whether something was dropped, once */
  takeDropped(): boolean {
    const hadDropped = this.#hasDropped
    if (hadDropped) this.#length = 0
    this.#hasDropped = false
    return hadDropped
  }

  /** Ends the wait: there is something to look at. */
  wake(): void {
    this.#isWoken = true
    this.#wake?.()
  }

  /** Waits for something, at most so long. @returns whether it came */
  async wait(ms: number): Promise<boolean> {
    if (!this.#isWoken) {
      await new Promise<void>((resolve) => {
        const timer = systemClock.setTimeout(resolve, ms)
        this.#wake = () => {
          systemClock.clearTimeout(timer)
          resolve()
        }
      })
      this.#wake = undefined
    }
    const came = this.#isWoken
    this.#isWoken = false
    return came
  }
}
