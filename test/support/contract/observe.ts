import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { format } from 'node:util'
import debug from 'debug'

/** The process's reports of its streams, by their request ids. */
export interface Observation extends Disposable {
  /** The names of the channels that have reported a stream, in order, and their messages. */
  messages(requestId: string): [name: string, message: Record<string, unknown>][]
  /** The same of all streams. */
  readonly all: readonly [name: string, message: Record<string, unknown>][]
  /** Every debug line, without its namespace. */
  readonly lines: readonly string[]
  /** Waits until something holds; it is looked at whenever there is more. */
  until(holds: () => boolean): Promise<void>
}

const names = ['start', 'head', 'timeout', 'cleanup', 'reported', 'end']

/** Listens to the diagnostics channels, and to `DEBUG=unhang:*`. */
export function observeStreams(): Observation {
  const messages: [string, Record<string, unknown>][] = []
  const lines: string[] = []
  let wake: () => void = () => {}
  const listeners = names.map((name) => {
    const listener = (message: unknown) => {
      messages.push([name, message as Record<string, unknown>])
      wake()
    }
    subscribe(`unhang:stream:${name}`, listener)
    return () => unsubscribe(`unhang:stream:${name}`, listener)
  })
  const { log } = debug
  debug.log = (...values: unknown[]) => {
    lines.push(format(...values).replace(/^.*?unhang:\w+ /, ''))
    wake()
  }
  debug.enable('unhang:*')
  return {
    all: messages,
    lines,
    messages: (requestId) => messages.filter(([, message]) => message.requestId === requestId),
    async until(holds) {
      while (!holds()) {
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }
    },
    [Symbol.dispose]() {
      debug.disable()
      debug.log = log
      for (const stop of listeners) stop()
    },
  }
}
