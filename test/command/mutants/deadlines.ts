import type { IncomingMessage } from 'node:http'
import { Call, type Deadline, proxyDeadlines, proxyOf } from '../hand-written-proxy.js'
import type { Mutant } from './index.js'

function without(deadline: Deadline, ms = Number.POSITIVE_INFINITY): Mutant['proxy'] {
  return proxyOf(
    class extends Call {
      override readonly deadlines = { ...proxyDeadlines, [deadline]: ms }
    },
  )
}

/** Deadlines that a proxy lacks, or that pass when they must not. */
export const deadlineMutants: Record<string, Mutant> = {
  'has no deadline for the first byte': {
    mode: 'FM-03',
    says: { 'FM-03 silent': 'hang' },
    proxy: without('firstByte'),
  },
  'takes headers for the first byte': {
    mode: 'FM-04',
    says: { 'FM-04 headOnly': 'hang' },
    proxy: proxyOf(
      class extends Call {
        #hasBegun = false
        override onAnswer(answer: IncomingMessage): void {
          this.stop('firstByte')
          super.onAnswer(answer)
          this.stop('firstEvent')
        }
        override onText(text: string, answer: IncomingMessage): void {
          if (!this.#hasBegun) this.start('firstEvent')
          this.#hasBegun = true
          super.onText(text, answer)
        }
      },
    ),
  },
  'has no deadline for the first event': {
    mode: 'FM-05',
    says: { 'FM-05 onlyComments': 'hang' },
    proxy: without('firstEvent'),
  },
  'waits for ever in mid-stream': {
    mode: 'FM-06',
    // The deadline for the next piece would end the same silence.
    says: { 'FM-06 stalled': 'hang', 'FM-07 pings': 'hang' },
    proxy: proxyOf(
      class extends Call {
        override start(name: Deadline): void {
          if (name === 'inactivity' && this.response.headersSent) return this.stop(name)
          if (name !== 'stall') super.start(name)
          else if (!this.response.headersSent) this.stop(name)
        }
      },
    ),
  },
  'takes pings for an answer': {
    mode: 'FM-07',
    says: { 'FM-07 pings': 'hang' },
    proxy: without('stall'),
  },
  'has no deadline for all of it': {
    mode: 'FM-08',
    says: { 'FM-08 drip': 'hang' },
    proxy: without('total'),
  },
  'is too impatient in mid-stream': {
    mode: 'FM-42',
    says: { 'FM-42 pause': 'reported' },
    proxy: without('inactivity', 400),
  },
  'blames the upstream for a slow client': {
    mode: 'FM-28',
    says: { 'FM-28 reads slowly': 'reported' },
    proxy: proxyOf(
      class extends Call {
        override stop(name: Deadline): void {
          if (name !== 'inactivity' || !this.isCatchingUp || this.isOver) super.stop(name)
        }
      },
    ),
  },
}
