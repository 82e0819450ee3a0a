import { performance } from 'node:perf_hooks'

/** Calls back when so much time has gone by since the last sign of life. One timer, re-armed when it fires. */
export function every(ms, lastAt, callback) {
  let timer
  const arm = () => {
    const leftMs = lastAt() + ms - performance.now()
    timer = setTimeout(arm, leftMs > 0 ? leftMs : ms).unref()
    if (leftMs <= 0) callback()
  }
  arm()
  return { stop: () => clearTimeout(timer) }
}
