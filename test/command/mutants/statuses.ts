import type { IncomingMessage } from 'node:http'
import { Call, proxyOf } from '../hand-written-proxy.js'
import type { Mutant } from './index.js'

/** Whether `http.request` says this of a connection that was closed, or reset, before any response. */
const isClosed = ({ message }: Error) => message === 'socket hang up'
const isReset = ({ message }: Error) => message === 'read ECONNRESET'

function onErrorBefore(
  matches: (error: NodeJS.ErrnoException, call: Call) => boolean,
  act: (call: Call) => void,
): Mutant['proxy'] {
  return proxyOf(
    class extends Call {
      override onError(error: NodeJS.ErrnoException): void {
        if (!this.isOver && !this.response.headersSent && matches(error, this)) act(this)
        else super.onError(error)
      }
    },
  )
}

const cut = ({ response }: Call) => response.destroy()

/** Defects in the responses of a proxy that could still choose the status. */
export const statusMutants: Record<string, Mutant> = {
  'never answers where its upstream cannot be reached': {
    mode: 'FM-01',
    says: { 'FM-01 refused': 'hang' },
    proxy: onErrorBefore(
      ({ code }) => code === 'ECONNREFUSED',
      (call) => call.over(),
    ),
  },
  'cuts where a new connection is closed': {
    mode: 'FM-12',
    says: { 'FM-12 finBeforeHead': 'cut' },
    proxy: onErrorBefore((error, call) => isClosed(error) && call.upstream?.reusedSocket === false, cut),
  },
  'cuts where a keep-alive connection is closed': {
    mode: 'FM-13',
    says: { 'FM-13 staleConnection': 'cut' },
    proxy: onErrorBefore((error, call) => isClosed(error) && call.upstream?.reusedSocket === true, cut),
  },
  'cuts where a connection is reset': {
    mode: 'FM-14',
    says: { 'FM-14 resetBeforeHead': 'cut' },
    proxy: onErrorBefore(isReset, cut),
  },
  'ends with what cannot be read': {
    mode: 'FM-18',
    says: { 'FM-18 garbage': 'cut', 'FM-18 badChunkSize': 'cut' },
    proxy: proxyOf(
      class extends Call {
        override onError(error: NodeJS.ErrnoException): void {
          if (/^HPE_/.test(error.code ?? '')) this.response.destroy()
          else super.onError(error)
        }
      },
    ),
  },
  'makes a 502 of a 429': {
    mode: 'FM-19',
    says: { 'FM-19 rateLimited': 'reported' },
    proxy: proxyOf(
      class extends Call {
        override respond(status: number, text: string, retryAfter?: string): void {
          super.respond(status === 429 ? 502 : status, text, retryAfter)
        }
      },
    ),
  },
  'forgets Retry-After': {
    mode: 'FM-19',
    says: { 'FM-19 rateLimited': 'reported' },
    proxy: proxyOf(
      class extends Call {
        override respond(status: number, text: string): void {
          super.respond(status, text)
        }
      },
    ),
  },
  'says 200 to an error of the server': {
    mode: 'FM-20',
    says: { 'FM-20 serverError': 'silent truncation' },
    proxy: proxyOf(
      class extends Call {
        override respond(status: number, text: string, retryAfter?: string): void {
          super.respond(status === 500 ? 200 : status, text, retryAfter)
        }
      },
    ),
  },
  'waits for ever for the body of an error': {
    mode: 'FM-20',
    says: { 'FM-20 slowError': 'hang' },
    proxy: proxyOf(
      class extends Call {
        override onDocument(answer: IncomingMessage): void {
          super.onDocument(answer)
          this.stop('inactivity')
        }
      },
    ),
  },
  'swallows the errors of its upstream': {
    mode: 'FM-21',
    says: { 'FM-21 errorEvent': 'silent truncation', 'FM-21 errorMidStream': 'silent truncation' },
    proxy: proxyOf(
      class extends Call {
        override write(text: string, answer: IncomingMessage): void {
          super.write(text.includes('"error"') ? 'data: [DONE]\n\n' : text, answer)
        }
      },
    ),
  },
  'streams whatever is asked for': {
    mode: 'FM-43',
    says: { 'FM-43 no stream': 'silent truncation' },
    proxy: (url) => {
      const listener = proxyOf(
        class extends Call {
          override call(): void {
            Object.assign(this, { body: this.body.replace('"stream":false', '"stream":true') })
            super.call()
          }
        },
      )
      return listener(url)
    },
  },
}
