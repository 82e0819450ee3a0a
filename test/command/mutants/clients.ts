import type { IncomingMessage } from 'node:http'
import { Call, proxyDeadlines, proxyOf } from '../hand-written-proxy.js'
import type { Mutant } from './index.js'

/** Defects in the fate of an upstream whose client leaves, or does not read. */
export const clientMutants: Record<string, Mutant> = {
  'does not see a client that leaves before the headers': {
    mode: 'FM-22',
    says: { 'FM-22 leaves before the headers': 'leak' },
    proxy: proxyOf(
      class extends Call {
        override onClientGone(): void {
          if (this.response.headersSent) super.onClientGone()
          else super.over()
        }
      },
    ),
  },
  'does not see a client that leaves in mid-stream': {
    mode: 'FM-23',
    says: { 'FM-23 leaves in mid-stream': 'leak' },
    proxy: proxyOf(
      class extends Call {
        override onClientGone(): void {
          if (this.isCatchingUp || !this.response.headersSent) super.onClientGone()
          else super.over()
        }
      },
    ),
  },
  'does not see a client that leaves while it waits for it': {
    mode: 'FM-25',
    says: { 'FM-25 leaves without reading': 'leak' },
    proxy: proxyOf(
      class extends Call {
        override onClientGone(): void {
          if (!this.isCatchingUp) super.onClientGone()
          else super.over()
        }
      },
    ),
  },
  'calls its upstream for half a request': {
    mode: 'FM-26',
    says: { 'FM-26 leaves in its request': 'leak' },
    proxy: proxyOf(
      class extends Call {
        override run(): void {
          if (this.request.complete) super.run()
          else this.call()
        }
      },
      { callsForHalf: true },
    ),
  },
  'reads more than its client': {
    mode: 'FM-27',
    says: { 'FM-27 stops reading': 'leak' },
    // It takes its time to read so much.
    deadlines: { totalMs: 21_000 },
    proxy: proxyOf(
      class extends Call {
        override readonly deadlines = { ...proxyDeadlines, total: 20_000 }
        override write(text: string, _answer: IncomingMessage): void {
          this.begin()
          this.response.write(text)
        }
      },
    ),
  },
  'waits for ever for a client that reads nothing': {
    mode: 'FM-27',
    says: { 'FM-27 stops reading': 'hang' },
    // A deadline for all of it would end the same wait.
    deadlines: { totalMs: 15_000, clientStallMs: 3_000 },
    proxy: proxyOf(
      class extends Call {
        override readonly deadlines = { ...proxyDeadlines, total: 14_000, client: Number.POSITIVE_INFINITY }
      },
    ),
  },
}
