import { warnOnce } from '../diagnostics/channels.js'

/** Says once that nothing can be put into a stream that is compressed. */
export function warnOfCompressedStream(): void {
  warnOnce(
    'a compressed event stream passes the guard, which cannot write errors into it: a failure cuts the stream',
  )
}
