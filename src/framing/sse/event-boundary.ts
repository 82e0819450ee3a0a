import { carriageReturn, lineFeed } from './byte-text.js'
import { endOfLastEvent } from './framing.js'

/** Longer than any comment that is worth remembering. */
const longestOpenText = 1_024
// Whole comments, and lines that only say when to try again, begin no event.
const noEvent = /^(?:\n|(?::|retry *:)[^\r\n]*(?:\r\n|\r(?!$)|\n))*$/

/**
 * Follows the bytes of an event stream that somebody else writes, and knows whether something may be put in
 * between: only where an event has ended, not merely a line.
 */
export class EventBoundary {
  /** What has come since the last event ended. */
  #open = ''
  /** Whether the last event ended in a CR that may yet be the half of a CRLF. */
  #endedInHalf = false

  observe(bytes: Buffer): void {
    if (bytes.length === 0) return
    const all = this.#open === '' ? bytes : Buffer.concat([Buffer.from(this.#open, 'latin1'), bytes])
    const end = endOfLastEvent(all)
    this.#open = all.subarray(end).toString('latin1')
    if (this.#open.length > longestOpenText) this.#open = `x${this.#open.slice(-3)}`
    const [before, last] = [all[all.length - 2], all[all.length - 1]]
    this.#endedInHalf = end === all.length && last === carriageReturn && before === lineFeed
  }

  /** Whether nothing at all has come since the last event ended. */
  get isClean(): boolean {
    return this.#open === '' && !this.#endedInHalf
  }

  get betweenEvents(): boolean {
    return !this.#endedInHalf && noEvent.test(this.#open)
  }

  /** What ends the event that has begun, so that another can follow. */
  get closing(): string {
    return this.betweenEvents ? '' : '\n\n'
  }
}
