import { getRequestListener } from '@hono/node-server'
import type { StreamEnd } from '../../src/index.js'
import { watchPrintedErrors } from './printed-errors.js'
import { listen, type TestServer } from './proxy.js'

type Handler = (request: Request) => Response | Promise<Response>

/** A fetch handler on Hono's server for Node, and the records of its streams as they come. */
export interface FetchServer extends TestServer {
  /** For the handler's options. */
  readonly onEnd: (end: StreamEnd) => true
  /** Waits for the next record. */
  end(): Promise<StreamEnd>
}

export async function serveFetch(handlerFor: (onEnd: FetchServer['onEnd']) => Handler): Promise<FetchServer> {
  const ends: StreamEnd[] = []
  let wake = () => {}
  const onEnd = (end: StreamEnd) => {
    ends.push(end)
    wake()
    return true as const
  }
  const printed = watchPrintedErrors()
  const server = await listen(getRequestListener(handlerFor(onEnd)))
  return {
    ...server,
    onEnd,
    async end() {
      for (;;) {
        const end = ends.shift()
        if (end) return end
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }
    },
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]()
      printed[Symbol.dispose]()
    },
  }
}
