import { Agent, request } from 'node:http'

const agent = new Agent({ keepAlive: true, maxSockets: Number.POSITIVE_INFINITY, timeout: 60_000 })

/** Asks the upstream what the client asked of the proxy. */
export function callUpstream(upstreamPort, path, { signal, ...more } = {}) {
  return new Promise((resolve, reject) => {
    request({ port: upstreamPort, host: '127.0.0.1', path, method: 'POST', agent, signal, ...more }, resolve)
      .on('error', reject)
      .end()
  })
}

export const headers = {
  'Content-Type': 'text/event-stream; charset=utf-8',
  'Cache-Control': 'no-cache, no-transform',
  'X-Accel-Buffering': 'no',
}
