import type { StreamOptions, StreamTimeouts } from 'unhang'

/** What the example servers read from the environment. */
export interface Settings {
  port: number
  host: string
  /** Which of Qolaba's two APIs is called. */
  api: 'studio' | 'openai'
  /** `undefined`: the stand-in. */
  baseUrl: string | undefined
  /** `undefined`: the client's own key is passed on. */
  apiKey: string | undefined
  /** How long live streams may take to finish once the server is told to stop. */
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
  const { HOST: host = '127.0.0.1', QOLABA_API_KEY: apiKey = '' } = environment
  if (!/^[\x21-\x7e]*$/.test(apiKey)) throw new Error('QOLABA_API_KEY holds what no HTTP header can carry')
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
  return {
    port: readPort(environment),
    host,
    api,
    baseUrl,
    apiKey: apiKey || undefined,
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

function readPort({ PORT = '3000' }: NodeJS.ProcessEnv): number {
  if (/^\d{1,5}$/.test(PORT) && Number(PORT) < 65_536) return Number(PORT)
  throw new Error(`PORT must be a whole number from 0 to 65535, got ${JSON.stringify(PORT)}`)
}

function readUrl(environment: NodeJS.ProcessEnv, name: string): string | undefined {
  const value = environment[name]
  if (!value) return undefined
  if (URL.canParse(value) && /^https?:/i.test(value)) return value
  throw new Error(`${name} must be an http or https URL, got ${JSON.stringify(value)}`)
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
