import process from 'node:process'
import { checkNames } from '../errors/bad-input.js'
import { systemClock } from '../timeouts/clock.js'
import { checkServer } from './align-timeouts.js'
import { type DrainableServer, type DrainOptions, type DrainReport, drainStreams } from './drain-streams.js'

/**
 * The options of {@link drainOnSignals}.
 *
 * @example
 * const options: DrainOnSignalsOptions = { signals: ['SIGTERM'], onDrained: () => process.exit(0) }
 */
export interface DrainOnSignalsOptions extends DrainOptions {
  /** The signals that shut the server down. @defaultValue `['SIGINT', 'SIGTERM']` */
  signals?: readonly NodeJS.Signals[] | undefined
  /** Called once the server has been drained. @defaultValue ends the process with the code 0 */
  onDrained?: ((report: DrainReport) => unknown) | undefined
}

/** A terminal, npm and systemd each send a signal more than once. */
const repeatMs = 1_000
const names = ['noticeMs', 'graceMs', 'forceMs', 'signals', 'onDrained']

/**
 * Shuts a server down on a signal, without cutting a stream: the first signal calls {@link drainStreams} and then ends the
 * process. Repeats within a second are ignored; a later signal ends the process at once.
 *
 * @param server a server of `node:http`, `node:https` or `node:http2`
 * @returns a function that takes the listeners off the process
 * @throws TypeError that names the option and the value
 * @see https://nodejs.org/api/process.html#signal-events
 * @example
 * const server = app.listen(3000)
 * drainOnSignals(server, { graceMs: 30_000 })
 */
export function drainOnSignals(server: DrainableServer, options: DrainOnSignalsOptions = {}): () => void {
  checkServer('drainOnSignals', server)
  checkNames(options, { owner: 'options.', names })
  const { signals = ['SIGINT', 'SIGTERM'], onDrained = () => process.exit(0), ...drain } = options
  let firstAt: number | undefined
  const received = () => {
    const now = systemClock.now()
    if (firstAt === undefined) {
      firstAt = now
      void drainStreams(server, drain).then(onDrained)
    } else if (now - firstAt > repeatMs) process.exit(1)
  }
  for (const signal of signals) process.on(signal, received)
  return () => {
    for (const signal of signals) process.off(signal, received)
  }
}
