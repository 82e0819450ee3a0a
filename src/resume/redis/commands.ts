import { systemClock, within } from '../../timeouts/clock.js'
import type { RedisArgument, RedisLink, RedisReply } from './link.js'

/** How long Redis may leave everything unanswered until it counts as gone. */
const patienceMs = 1_000
/** How long a caller waits for one answer, among others that come. */
const maxAnswerMs = 5_000
/** How many commands may be unanswered, whatever the client would still take. */
const maxUnanswered = 10_000

/** Sends commands, and knows whether Redis answers: a client without a connection would keep them without a bound. */
export class RedisCommands {
  readonly link: RedisLink
  #unanswered = 0
  /** When the last answer came, or the first command was sent after it. */
  #waitingSince = 0
  #wasClosed = false
  readonly #listeners: (() => void)[] = []

  constructor(link: RedisLink) {
    this.link = link
    link.onReady(() => {
      this.#wasClosed = true
      this.#reopened()
    })
  }

  /** Whether commands that could wait should be sent now. */
  get isOpen(): boolean {
    if (this.#answers && this.#unanswered < maxUnanswered) return true
    this.#wasClosed = true
    return false
  }

  get #answers(): boolean {
    const isPatient = this.#unanswered === 0 || systemClock.now() - this.#waitingSince < patienceMs
    return this.link.isReady && isPatient
  }

  /** Calls back each time the client has connected, or Redis answers again. */
  onOpen(listener: () => void): void {
    this.#listeners.push(listener)
  }

  /**
   * Commands that are sent in one turn are written together.
   *
   * @throws what the client does, or Error if Redis is gone and the client keeps too much for it already
   */
  async send(key: string, ...command: RedisArgument[]): Promise<RedisReply> {
    if (this.#unanswered >= maxUnanswered && !this.#answers) throw new Error('Redis does not respond')
    if (this.#unanswered++ === 0) this.#waitingSince = systemClock.now()
    try {
      return await this.link.send(key, command)
    } finally {
      this.#unanswered--
      this.#waitingSince = systemClock.now()
      if (this.#wasClosed && this.link.isReady) this.#reopened()
    }
  }

  /** Sends a command that a caller waits for. @throws Error if there is no answer in time */
  async ask(key: string, ...command: RedisArgument[]): Promise<RedisReply> {
    // A client that has no connection keeps the command: it may be about to have one.
    const limitMs = this.isOpen ? maxAnswerMs : patienceMs
    const reply = this.send(key, ...command)
    if (await within(reply, limitMs)) return reply
    reply.catch(() => {})
    throw new Error(`Redis has not responded within ${limitMs} ms`)
  }

  #reopened(): void {
    this.#wasClosed = false
    for (const listener of this.#listeners) systemClock.setImmediate(listener)
  }
}
