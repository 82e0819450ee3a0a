/** Whether only programs of this machine reach an address, or a name. */
export function isLoopback(host: string): boolean {
  return /^(127(\.\d{1,3}){3}|::1|\[::1\]|(.+\.)?localhost)$/i.test(host.replace(/^::ffff:/i, ''))
}

/** Whether a URL leads to the address that a proxy listens on, if their ports are the same. */
export function leadsTo(host: string, { hostname }: URL): boolean {
  const own = asInUrl(host)
  return own === hostname || (isHere(own) && isHere(hostname))
}

function isHere(hostname: string): boolean {
  return isLoopback(hostname) || ['', '0.0.0.0', '[::]'].includes(hostname)
}

/** An address has many spellings, such as 0 for 0.0.0.0, and a URL has one of them. */
function asInUrl(host: string): string {
  const url = `http://${host.includes(':') ? `[${host}]` : host}`
  return URL.canParse(url) ? new URL(url).hostname : host
}
