const troubleshooting = 'docs/TROUBLESHOOTING.md'

/** Where each check is explained, in the package. */
const pages: Readonly<Record<string, string>> = {
  reachable: `${troubleshooting}#socket-hang-up-econnreset-before-the-first-token`,
  headers: `${troubleshooting}#everything-comes-at-once`,
  buffering: `${troubleshooting}#everything-comes-at-once`,
  compression: `${troubleshooting}#everything-comes-at-once`,
  terminator: `${troubleshooting}#premature-close-terminated-aborted-other-side-closed-mid-answer`,
  done: `${troubleshooting}#the-answer-stops-in-mid-sentence-without-an-error`,
  heartbeats: `${troubleshooting}#504-524-h12-502-after-30-60-120-seconds`,
  connection: `${troubleshooting}#every-second-chat-fails`,
  'keep-alive': `${troubleshooting}#every-second-chat-fails`,
  'next-request': `${troubleshooting}#every-second-chat-fails`,
  'non-streaming': `${troubleshooting}#a-stream-where-json-was-wanted-or-the-other-way-round`,
  disconnect: `${troubleshooting}#the-model-goes-on-after-the-user-has-stopped`,
}

/** Where to read more of a finding. */
export function pageOf(check: string): string {
  if (check.startsWith('FM-')) return 'docs/FAILURE-MODES.md'
  return pages[check] ?? `${troubleshooting}#the-doctor`
}
