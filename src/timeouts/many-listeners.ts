/**
 * Lets a signal have as many listeners as there are streams: one of an app lives as long as that. Node warns of more than ten.
 *
 * @see https://nodejs.org/api/events.html#eventssetmaxlistenersn-eventtargets
 */
export function allowManyListeners(signal: unknown): void {
  // Asked for at run time: a fetch handler may run where there is no Node.
  const events = globalThis.process?.getBuiltinModule?.('node:events')
  if (signal instanceof EventTarget) events?.setMaxListeners(0, signal)
}
