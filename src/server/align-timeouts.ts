import type { Server } from 'node:http'
import { defaultHeartbeatMs } from '../client/heartbeat.js'
import { checkFlag, checkNames, shown } from '../errors/bad-input.js'
import { readDuration } from '../timeouts/options.js'

/**
 * The options of {@link alignServerTimeouts}; times are in milliseconds.
 *
 * @example
 * alignServerTimeouts(server, { idleMs: 120_000, apply: false }).forEach(({ message }) => console.log(message))
 */
export interface AlignOptions {
  /** How long the load balancer in front keeps an idle connection. AWS ALB and nginx: 60 000. @defaultValue `60_000` */
  idleMs?: number | false | undefined
  /** How often a stream sends at least a heartbeat, as `writer.heartbeatMs`. @defaultValue `15_000` */
  heartbeatMs?: number | false | undefined
  /** Whether to set the values that are safe to set. `false`: only report them. @defaultValue `true` */
  apply?: boolean | undefined
}

/** A problem with one of a server's own timers. */
export interface TimeoutFinding {
  /** The name of the setting. */
  setting:
    | 'keepAliveTimeout'
    | 'requestTimeout'
    | 'headersTimeout'
    | 'timeout'
    | 'connectionsCheckingInterval'
  /** The value that was found, in milliseconds. */
  valueMs: number
  /** The value that was set, in milliseconds; `undefined` if nothing was changed. */
  setToMs: number | undefined
  /** The problem and its fix, in a plain sentence. */
  message: string
}

/** A server that keeps idle connections longer than the load balancer in front of it never closes one they are using. */
const marginMs = 5_000

/**
 * Checks a server's own timers against heartbeats and the load balancer, sets those that are safe to set, and reports them.
 *
 * @param server a server of `node:http` or `node:https`
 * @returns a finding for each problem; empty if there is none
 * @throws TypeError that names the option and the value
 * @see https://nodejs.org/api/http.html#serverkeepalivetimeout
 * @example
 * for (const { message } of alignServerTimeouts(server)) console.warn(message)
 */
export function alignServerTimeouts(server: Server, options: AlignOptions = {}): TimeoutFinding[] {
  checkServer('alignServerTimeouts', server)
  if (!('keepAliveTimeout' in server)) {
    throw new TypeError(
      `alignServerTimeouts(server) takes a server of node:http or node:https, got ${shown(server)}`,
    )
  }
  checkNames(options, { owner: 'options.', names: ['idleMs', 'heartbeatMs', 'apply'] })
  const idleMs = readDuration('idleMs', options.idleMs ?? 60_000)
  const heartbeatMs = readDuration('heartbeatMs', options.heartbeatMs ?? defaultHeartbeatMs)
  checkFlag('apply', options.apply)
  const { apply = true } = options
  const findings: TimeoutFinding[] = []
  const find = (setting: TimeoutFinding['setting'], valueMs: number, message: string, setToMs?: number) => {
    const set = apply ? setToMs : undefined
    const said = set === undefined ? message : `${message} It is now ${set} ms.`
    findings.push({ setting, valueMs, setToMs: set, message: said })
  }

  const wantedMs = idleMs + marginMs
  const { keepAliveTimeout, requestTimeout, headersTimeout, timeout } = server
  // 0 keeps idle connections for ever.
  if (keepAliveTimeout !== 0 && keepAliveTimeout < wantedMs && Number.isFinite(wantedMs)) {
    const why = `a client or load balancer that keeps its connections for ${idleMs} ms will use one that is being closed`
    const message = `server.keepAliveTimeout is ${keepAliveTimeout} ms: ${why} (“socket hang up”); it should be ${wantedMs}.`
    find('keepAliveTimeout', keepAliveTimeout, message, wantedMs)
    if (apply) server.keepAliveTimeout = wantedMs
  }
  if (timeout > 0 && timeout <= 2 * heartbeatMs) {
    const why = `it cuts every connection that is silent for that long, also while a model is thinking`
    const message = `server.timeout is ${timeout} ms: ${why}; set it to 0, or above twice the heartbeat (${heartbeatMs}).`
    find('timeout', timeout, message)
  }
  if (requestTimeout === 0 && headersTimeout === 0) {
    const message =
      'server.requestTimeout is 0: a client that never finishes its request keeps its connection for ever.'
    find('requestTimeout', 0, message)
  }
  const { connectionsCheckingInterval } = server as { connectionsCheckingInterval?: number }
  if (requestTimeout > 0 && connectionsCheckingInterval && connectionsCheckingInterval > requestTimeout / 2) {
    const message =
      `connectionsCheckingInterval is ${connectionsCheckingInterval} ms: server.requestTimeout (${requestTimeout} ms) may fire ` +
      'that much too late; pass a shorter interval to createServer().'
    find('connectionsCheckingInterval', connectionsCheckingInterval, message)
  }
  if (server.listenerCount('timeout') > 0 && timeout > 0) {
    const message = "with a 'timeout' listener, the server no longer closes silent connections by itself."
    find('timeout', timeout, message)
  }
  return findings
}

/**
 * @param call the function that was called with it
 * @throws TypeError for an app, or anything else that is not a server
 */
export function checkServer(call: string, server: unknown): void {
  // A server of node:net has no timeout of its own.
  const { listen, close, on, setTimeout } = Object(server) as Partial<Server>
  if (typeof server === 'object' && typeof listen === 'function' && close && on && setTimeout) return
  const hint = typeof listen === 'function' ? '; write const server = app.listen(port)' : ''
  throw new TypeError(`${call}(server) takes the server that listens, got ${shown(server)}${hint}`)
}
