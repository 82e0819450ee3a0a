import type { StreamOptions, StreamTimeouts } from 'unhang'

/** The settings of the example servers, from the environment. */
export interface Settings {
  port: number
  host: string
  /** Which of Qolaba's two APIs is called. */
  api: 'studio' | 'openai'
  /** `undefined`: the stand-in. */
  baseUrl: string | undefined
  /** `undefined`: the client's own key is passed on. */
  apiKey: string | undefined
  /** The bearer key that clients must send; `undefined`: see {@link Access}. */
  proxyKey: string | undefined
  /** The origins whose pages may call; `undefined`: see {@link Access}. */
  allowOrigin: string[] | undefined
  /** Where streams are recorded, so that a client can rejoin its own; `undefined`: nowhere. */
  resume: 'memory' | URL | undefined
  /** The name of this process among several behind one address. The playground may then kill it. */
  playgroundProcess: string | undefined
  /** How long live streams may take to finish once the server is asked to stop. */
  shutdownGraceMs: number
  timeouts: StreamTimeouts
  writer: NonNullable<StreamOptions['writer']>
}

const qolaba = {
  studio: 'https://qolaba-server-b2b.up.railway.app/api/v1/studio',
  openai: 'https://qolaba-server-b2b.up.railway.app/api/v1',
}

/**
 * @throws Error whose message names the variable and its value
 */
export function readEnvironment(environment: NodeJS.ProcessEnv): Settings {
  const { HOST: host = '127.0.0.1' } = environment
  const apiKey = readKey(environment, 'QOLABA_API_KEY')
  const proxyKey = readKey(environment, 'PROXY_KEY')
  for (const name of Object.keys(environment)) {
    if (/^TIMEOUT_.*_MS$/.test(name) && !timeoutNames.includes(name)) {
      throw new Error(`${name} is not a setting; there are ${timeoutNames.join(', ')}`)
    }
  }
  const api = environment.QOLABA_API || 'studio'
  if (api !== 'studio' && api !== 'openai') {
    throw new Error(`QOLABA_API must be studio or openai, got ${JSON.stringify(api)}`)
  }
  const baseUrl = readUrl(environment, 'QOLABA_BASE_URL') ?? (apiKey ? qolaba[api] : undefined)
  if (proxyKey && baseUrl && !apiKey) {
    throw new Error('PROXY_KEY needs a QOLABA_API_KEY: without one, the key that a client sends is Qolaba’s')
  }
  return {
    port: readPort(environment),
    host,
    api,
    baseUrl,
    apiKey,
    proxyKey,
    allowOrigin: readOrigins(environment),
    resume: readResume(environment),
    playgroundProcess: environment.PLAYGROUND_PROCESS || undefined,
    // Docker and Kubernetes are through with their patience after 10 and 30 seconds.
    shutdownGraceMs: readDuration(environment, 'SHUTDOWN_GRACE_MS') ?? 8_000,
    timeouts: {
      connectMs: readDuration(environment, 'TIMEOUT_CONNECT_MS'),
      firstByteMs: readDuration(environment, 'TIMEOUT_FIRST_BYTE_MS'),
      inactivityMs: readDuration(environment, 'TIMEOUT_INACTIVITY_MS'),
      totalMs: readDuration(environment, 'TIMEOUT_TOTAL_MS'),
    },
    writer: {
      heartbeatMs: readDuration(environment, 'HEARTBEAT_MS'),
      headersAfterMs: readDuration(environment, 'HEADERS_AFTER_MS'),
    },
  }
}

const timeoutNames = ['CONNECT', 'FIRST_BYTE', 'INACTIVITY', 'TOTAL'].map((name) => `TIMEOUT_${name}_MS`)

function readResume({ RESUME: value }: NodeJS.ProcessEnv): Settings['resume'] {
  if (!value) return undefined
  if (value === 'memory') return value
  if (URL.canParse(value) && /^rediss?:/i.test(value)) return new URL(value)
  throw new Error(`RESUME must be memory or a redis URL, got ${JSON.stringify(withoutSecrets(value))}`)
}

function readPort({ PORT = '3000' }: NodeJS.ProcessEnv): number {
  if (/^\d{1,5}$/.test(PORT) && Number(PORT) < 65_536) return Number(PORT)
  throw new Error(`PORT must be a whole number from 0 to 65535, got ${JSON.stringify(PORT)}`)
}

function readKey(environment: NodeJS.ProcessEnv, name: string): string | undefined {
  const value = environment[name] || undefined
  if (value === undefined || /^[\x21-\x7e]+$/.test(value)) return value
  throw new Error(`${name} has a character that an HTTP header must not have`)
}

function readOrigins({ ALLOW_ORIGIN: value }: NodeJS.ProcessEnv): string[] | undefined {
  if (!value) return undefined
  const origins = value.split(',').map((origin) => origin.trim())
  const wrong = origins.find((origin) => !isOrigin(origin))
  if (wrong === undefined) return origins
  throw new Error(
    `ALLOW_ORIGIN must hold origins such as https://chat.example, separated by commas; got ${JSON.stringify(wrong)}`,
  )
}

/** As browsers send it. */
function isOrigin(text: string): boolean {
  if (/^https?:/i.test(text)) return URL.canParse(text) && new URL(text).origin === text
  return /^[a-z][a-z\d.+-]*:\/\/[^\s/]+$/.test(text)
}

function readUrl(environment: NodeJS.ProcessEnv, name: string): string | undefined {
  const value = environment[name]
  if (!value) return undefined
  if (URL.canParse(value) && /^https?:/i.test(value)) return value
  throw new Error(`${name} must be an http or https URL, got ${JSON.stringify(withoutSecrets(value))}`)
}

/** A URL as a log may show it: without user and query, where keys stand. */
export function withoutSecrets(url: string): string {
  return url.replace(/(?<=\/\/)[^/?#]*@|\?.*/g, '')
}

function readDuration(environment: NodeJS.ProcessEnv, name: string): number | undefined {
  const value = environment[name]
  if (!value) return undefined
  if (value === 'Infinity') return Number.POSITIVE_INFINITY
  if (/^\d+$/.test(value) && Number(value) > 0) return Number(value)
  throw new Error(
    `${name} must be a whole number of milliseconds above 0, or Infinity; got ${JSON.stringify(value)}`,
  )
}
