/**
 * Follows the bytes of an event stream that somebody else writes, and knows whether something may be put in
 * between: only where an event has ended, not merely a line.
 */
export class EventBoundary {
  /** Two line ends, each two characters at most. */
  #tail = '\n\n'

  observe(text: string): void {
    if (text !== '') this.#tail = (this.#tail + text.slice(-4)).slice(-4)
  }

  /** Whether the last event has ended. After a CR that may yet be the half of a CRLF, nobody knows. */
  get betweenEvents(): boolean {
    if (this.#tail.endsWith('\r') && this.#tail.includes('\n')) return false
    return this.#tail.replace(/\r\n?/g, '\n').endsWith('\n\n')
  }

  /** What ends the event that has begun, so that another can follow. */
  get closing(): string {
    return this.betweenEvents ? '' : '\n\n'
  }
}
