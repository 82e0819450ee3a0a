import type { IncomingMessage } from 'node:http'
import { Call, proxyOf } from '../hand-written-proxy.js'
import type { Mutant } from './index.js'

const isBreak = (code: string | undefined) => code === 'ECONNRESET'

function onBreak(act: (call: Call) => void): Mutant['proxy'] {
  return proxyOf(
    class extends Call {
      override onError(error: NodeJS.ErrnoException): void {
        if (isBreak(error.code) && this.response.headersSent) act(this)
        else super.onError(error)
      }
    },
  )
}

/** A broken promise of a length is missed in the same way. */
const everyBreak = (verdict: string) => ({
  'FM-15 resetMidStream': verdict,
  'FM-15 finMidStream': verdict,
  'FM-15 halfEvent': verdict,
  'FM-16 shortBody': verdict,
})

/** Defects in how a stream ends that breaks, stops short or is complete. */
export const endingMutants: Record<string, Mutant> = {
  'cuts a stream whose upstream breaks': {
    mode: 'FM-15',
    says: everyBreak('cut'),
    proxy: onBreak((call) => call.response.destroy()),
  },
  'ends a stream well whose upstream breaks': {
    mode: 'FM-15',
    says: everyBreak('silent truncation'),
    proxy: onBreak((call) => call.response.end()),
  },
  'leaves a stream open whose upstream breaks': {
    mode: 'FM-15',
    says: everyBreak('hang'),
    proxy: onBreak((call) => call.over()),
  },
  'passes half an event on': {
    mode: 'FM-15',
    says: { 'FM-15 halfEvent': 'cut' },
    proxy: proxyOf(
      class extends Call {
        override onText(text: string, answer: IncomingMessage): void {
          super.onText(text, answer)
          if (!text.includes('\n\n') && !this.isOver) this.response.write(text)
        }
      },
    ),
  },
  'loses the tokens before a break': {
    mode: 'FM-15',
    says: everyBreak('reported'),
    proxy: proxyOf(
      class extends Call {
        #kept = ''
        override write(text: string, answer: IncomingMessage): void {
          // It writes each event when the next one has come.
          super.write(this.#kept || ': begun\n\n', answer)
          this.#kept = text
          if (text.includes('[DONE]') || text.includes('"error"')) super.write(text, answer)
        }
        override fail(status: number, message: string): void {
          if (message !== 'ECONNRESET' && this.response.headersSent && !this.isOver)
            this.response.write(this.#kept)
          super.fail(status, message)
        }
      },
    ),
  },
  'takes any end for the end': {
    mode: 'FM-17',
    says: { 'FM-17 truncated': 'silent truncation', 'FM-17 empty': 'silent truncation' },
    proxy: proxyOf(
      class extends Call {
        override onEnd(): void {
          if (this.isOver) return
          this.over()
          this.begin()
          this.response.end()
        }
      },
    ),
  },
  'says [DONE] at any end': {
    mode: 'FM-17',
    says: { 'FM-17 truncated': 'silent truncation', 'FM-17 empty': 'silent truncation' },
    proxy: proxyOf(
      class extends Call {
        override onEnd(): void {
          if (this.isOver) return
          this.over()
          this.begin()
          this.response.end('data: [DONE]\n\n')
        }
      },
    ),
  },
  'waits for the end of the body after the end of the answer': {
    mode: 'FM-48',
    says: { 'FM-48 keepsOpen': 'hang' },
    proxy: proxyOf(
      class extends Call {
        override onTerminal(): void {
          this.over()
          const end = () => this.response.end()
          this.upstream?.once('close', end)
        }
      },
    ),
  },
  'cuts a complete stream whose upstream resets': {
    mode: 'FM-11',
    says: { 'FM-11 resetAfterEnd': 'cut' },
    proxy: proxyOf(
      class extends Call {
        #timer: NodeJS.Timeout | undefined
        override onTerminal(): void {
          this.over()
          this.#timer = setTimeout(() => {
            this.response.end()
            this.upstream?.destroy()
          }, 600)
        }
        override onEnd(): void {
          clearTimeout(this.#timer)
          if (this.isOver) this.response.end()
          else super.onEnd()
        }
        override onError(error: NodeJS.ErrnoException): void {
          if (this.isOver) this.response.destroy()
          else super.onError(error)
        }
      },
    ),
  },
  'closes its connections without saying so': {
    mode: 'FM-49',
    says: { 'FM-49 next request': 'cut' },
    proxy: proxyOf(
      class extends Call {
        override run(): void {
          this.response.on('finish', () => this.request.socket.destroySoon())
          super.run()
        }
      },
    ),
  },
}
