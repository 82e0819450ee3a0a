/** Less than this of the pace, and the machine or the target was too busy for what was meant to be measured. */
const paceKept = 0.8

/** One line for each result: the ratio, how far the rounds were apart, and what else was seen. */
export function lineOf({ kind, profile, text, per, name, failed, ...figures }) {
  const label = `${kind.padEnd(13)}${profile.padEnd(6)}${text.padEnd(6)}${name.padEnd(22)}`
  if (failed !== undefined) return `${label}failed: ${failed}`
  const { ratio, from, to, nanoseconds, busy, pace, latency } = figures
  const cost = `${(nanoseconds / 1_000).toFixed(1)} µs a ${per}`
  const share = `${(busy * 100).toFixed(0)} %`
  const delay = latency ? `  latency ${latency.p50.toFixed(2)}, ${latency.p99.toFixed(2)}` : ''
  const slow = pace < paceKept ? `  a round at ${(pace * 100).toFixed(0)} % of the pace` : ''
  const spread = `${ratio.toFixed(2)} (${from.toFixed(2)}–${to.toFixed(2)})`
  return `${label}${spread.padEnd(18)}${cost.padStart(18)}${share.padStart(7)}${delay}${slow}`
}
