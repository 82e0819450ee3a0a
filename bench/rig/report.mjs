/** One line for each result: what was measured, the ratio, and how far the rounds were apart. */
export function lineOf({ kind, profile, text, per, name, failed, ratio, from, to, nanoseconds, latency }) {
  const label = `${kind.padEnd(13)}${profile.padEnd(6)}${text.padEnd(6)}${name.padEnd(22)}`
  if (failed !== undefined) return `${label} failed: ${failed.split('\n').slice(0, 3).join(' | ')}`
  const cost = `${(nanoseconds / 1_000).toFixed(1)} µs a ${per}`
  const delay = latency ? `  latency ${latency.p50.toFixed(2)}, ${latency.p99.toFixed(2)}` : ''
  return `${label}${ratio.toFixed(2)} (${from.toFixed(2)}–${to.toFixed(2)})  ${cost.padStart(18)}${delay}`
}
