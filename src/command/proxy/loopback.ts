/** Whether only programs of this machine reach an address, or a name. */
export function isLoopback(host: string): boolean {
  return /^(127(\.\d{1,3}){3}|::1|\[::1\]|(.+\.)?localhost)$/i.test(host.replace(/^::ffff:/i, ''))
}
