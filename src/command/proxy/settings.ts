import { validateHeaderName, validateHeaderValue } from 'node:http'
import { connectionNames } from '../../client/head.js'
import { shown } from '../../errors/bad-input.js'
import { readStreamOptions, type StreamOptions } from '../../stream/settings.js'
import { resolveTimeouts, type StreamTimeouts } from '../../timeouts/options.js'
import { timeoutProfiles } from '../../timeouts/profiles.js'
import type { Flag } from '../flags.js'
import type { Header } from './headers.js'
import { isLoopback, leadsTo } from './loopback.js'

/** How a proxy is set up. */
export interface ProxySettings {
  readonly upstream: URL
  readonly host: string
  readonly port: number
  /** The operator's headers, which replace those of clients. */
  readonly headers: readonly Header[]
  /** The key that clients must send. */
  readonly key: string | undefined
  /** The origins whose pages may use the proxy; `*` is any. */
  readonly cors: readonly string[]
  /** How long a stream may be silent before a heartbeat; `undefined`: as unhang has it. */
  readonly heartbeatMs: number | undefined
  /** How long the headers of a stream wait for its first event; likewise. */
  readonly headersAfterMs: number | undefined
  /** `undefined`: the `advanced` profile for chats, and none for other streams. */
  readonly timeouts: StreamOptions['timeouts']
}

/** The deadlines of a chat: a local model may think long, under any name. */
export function timeoutsOf({
  timeouts = 'advanced',
}: Pick<ProxySettings, 'timeouts'>): StreamTimeouts | false {
  if (timeouts === false) return false
  const resolved = resolveTimeouts(timeouts, timeoutProfiles.advanced)
  // A default that another value has cut short would be taken for one that was set, and has no effect.
  const isMeant = ([name, value]: [string, number]) =>
    name === 'totalMs' || value < resolved.totalMs || Object.hasOwn(Object(timeouts), name)
  return Object.fromEntries(Object.entries(resolved).filter(isMeant))
}

/** How long a connection to the upstream may take. */
export function connectMsOf({ timeouts }: ProxySettings): number {
  return resolveTimeouts(timeouts, timeoutProfiles.advanced).connectMs
}

/** A base URL, without anything that would be lost. */
export function readUpstream(given: string): URL {
  const example = 'write it as http://127.0.0.1:8080'
  const url = URL.canParse(given) ? new URL(given) : undefined
  if (!url || !/^https?:$/.test(url.protocol) || url.hostname === '')
    throw new TypeError(`URL must be one of http or https, ${example}; got ${given}`)
  if (url.username !== '' || url.password !== '')
    throw new TypeError(`URL must hold no password: write --header "Authorization: …" instead`)
  if (url.search !== '' || url.hash !== '')
    throw new TypeError(`URL must have no query and no #, ${example}; got ${given}`)
  return url
}

/** `--header "Name: value"`, as often as there are headers. */
export function headerList(help: string): Flag<readonly Header[]> {
  return {
    placeholder: 'HEADER',
    help,
    fallback: [],
    isList: true,
    read: (given) => given.map(readHeader),
  }
}

/** Node writes these itself, or the request would not be the client's any more. */
const ownNames = [...connectionNames, 'content-length', 'te', 'trailer', 'expect']

function readHeader(given: string): Header {
  const [, name = '', value = ''] = /^\s*([^:]*?)\s*:\s*(.*?)\s*$/s.exec(given) ?? []
  // The value is most likely a key: it is not shown.
  const refuse = (why: string) => new TypeError(`${why}; write "Name: value"`)
  if (name === '') throw refuse('must name a header')
  if (value === '') throw refuse(`must have a value for ${shown(name)}`)
  if (ownNames.includes(name.toLowerCase()))
    throw new TypeError(`cannot set ${name}: the proxy writes it itself`)
  try {
    validateHeaderName(name)
    validateHeaderValue(name, value)
  } catch {
    throw refuse(`must be an HTTP header, got one named ${shown(name)} that cannot be sent`)
  }
  return [name, value]
}

/** Origins of pages, or `*`. */
export function originList(help: string): Flag<readonly string[]> {
  return {
    placeholder: 'ORIGIN',
    help,
    fallback: [],
    isList: true,
    read(given) {
      const wrong = given.find((origin) => !/^\*$|^[a-z][a-z\d+.-]*:\/\/[^\s/]+$/i.test(origin))
      if (wrong === undefined) return given
      throw new TypeError(`must be an origin such as https://chat.example, or *; got ${shown(wrong)}`)
    },
  }
}

/** A profile by its name, or timeouts as JSON. */
export function timeoutsFlag(help: string): Flag<StreamOptions['timeouts']> {
  return {
    placeholder: 'TIMEOUTS',
    help,
    fallback: undefined,
    read(given) {
      const last = given.at(-1) ?? ''
      const timeouts = last.trimStart().startsWith('{') || last === 'false' ? parsed(last) : last
      try {
        resolveTimeouts(timeouts as StreamOptions['timeouts'], timeoutProfiles.streaming)
      } catch (error) {
        throw new TypeError((error as Error).message.replace(/^timeouts[. ]/, ''))
      }
      return timeouts as StreamOptions['timeouts']
    },
  }
}

function parsed(json: string): unknown {
  try {
    return JSON.parse(json)
  } catch {
    throw new TypeError(`must be a profile or JSON, such as {"totalMs":600000}; got ${shown(json)}`)
  }
}

/** Names of the operator's headers that others must not use. */
const secret = /auth|key|token|secret|cookie/i

/** @throws TypeError for what works, but not as it was meant */
export function checkSettings(settings: ProxySettings): void {
  const { upstream, host, port, headers, key, heartbeatMs, headersAfterMs } = settings
  try {
    readStreamOptions({ timeouts: timeoutsOf(settings), writer: { heartbeatMs, headersAfterMs } })
  } catch (error) {
    // The only thing that two flags can be at odds about.
    throw new TypeError(
      (error as Error).message
        .replace('writer.headersAfterMs', '--headers-after-ms')
        .replace('timeouts.', '--timeouts '),
    )
  }
  const [name] = headers.find(([each]) => secret.test(each)) ?? []
  if (name !== undefined && key === undefined && !isLoopback(host)) {
    throw new TypeError(
      `--header ${name} would serve every client that reaches ${host}: add --key, which clients must send, or leave --host out.`,
    )
  }
  const upstreamPort = Number(upstream.port) || (upstream.protocol === 'https:' ? 443 : 80)
  if (port === upstreamPort && port !== 0 && leadsTo(host, upstream))
    throw new TypeError(`--port ${port} is the port of the URL itself: the proxy would call itself.`)
}
