// What is compared with what, and under which load.
import { spawnSync } from 'node:child_process'
import { chatMarker, msPerEvent } from './formats.mjs'

/** What a relay does, the floor of it, the cheapest we know how to write by hand, ours, and what else people use for it. */
export const kinds = {
  translate: {
    floor: 'minimal',
    bounds: ['minimal-paused', 'minimal-promises', 'minimal-paused-promises', 'minimal-mapped'],
    ours: [
      'unhang-translate',
      'unhang-for-await',
      'recorded-memory',
      // A server of its own, so that what it takes is not counted.
      ...(process.env.REDIS_URL ? ['recorded-redis'] : []),
    ],
    peers: ['parser-and-write', 'better-sse', 'fastify-sse', 'hono-stream-sse', 'ai-sdk'],
  },
  'pass-through': {
    floor: 'pipe',
    bounds: ['pipe-paused', 'pipe-signal', 'pipe-promises', 'pipe-paused-promises', 'naive-promises'],
    ours: ['unhang-pass-through', 'naive', 'unhang-unadopted', 'unhang-guarded'],
    peers: [
      'http-proxy-middleware',
      'httpxy',
      'fastify-reply-from',
      'hono-proxy',
      'fetch-for-await',
      ...(spawnSync('which', ['nginx']).status === 0 ? ['nginx'] : []),
    ],
  },
}

/** All of a kind. */
export function targetsOf({ floor, bounds, ours, peers }) {
  return [floor, ...bounds, ...ours, ...peers]
}

const markers = { 'ai-sdk': '"delta":"' }

/** What stands before a text in what this target sends. */
export function markerOf(name) {
  return markers[name] ?? chatMarker
}

/**
 * Lanes are streams side by side. An answer of a `timed` profile carries the send time of each event; `per` says
 * what the CPU is counted for.
 */
const profiles = {
  paced: { lanes: 100, events: 300, timed: true },
  short: { lanes: 40, answersPerLane: 25, events: 5, per: 'stream' },
  burst: { lanes: 100, events: 152, timed: true },
  blast: { lanes: 4, events: 30_000 },
  bulk: { lanes: 4, events: 30_000 },
}

const quickProfiles = {
  paced: { ...profiles.paced, events: 100 },
  blast: { ...profiles.blast, events: 8_000 },
}

/**
 * What warms the compilers up: before a timed profile, whose full rounds take their time, so many events, whole bursts of
 * them; before the others so many full ones.
 */
const warmUps = { quick: { events: 24, loads: 1 }, full: { events: 100, loads: 3 } }

function loadOf(name, profile, quick) {
  const load = { answersPerLane: 1, timed: false, per: 'event', limitMs: 60_000, ...profile }
  const { events, loads } = quick ? warmUps.quick : warmUps.full
  const warmUp = load.timed ? { ...load, events } : { ...load, answersPerLane: load.answersPerLane * loads }
  return { name, load, warmUp }
}

/** Longer streams: what setting them up costs weighs less. */
function longer(load, wanted) {
  if (wanted === undefined) return load
  const events = Number(wanted)
  if (!Number.isInteger(events) || events < 1)
    throw new Error(`--events must be a whole number from 1, got ${wanted}`)
  return { ...load, events, limitMs: 60_000 + events * msPerEvent }
}

/** Names of `all` that were asked for, in the order of `all`. */
export function chosen(what, all, list) {
  if (list === undefined) return all
  const names = list.split(',')
  const unknown = names.find((name) => !all.includes(name))
  if (unknown !== undefined) throw new Error(`${what} ${unknown} is unknown; there are ${all.join(', ')}`)
  return all.filter((name) => names.includes(name))
}

/** Everything to be measured: each kind with its targets, profiles and texts. */
export function plan({ quick, peers, kind, profile, text, target, events }) {
  const everyTarget = Object.values(kinds).flatMap(targetsOf)
  const wanted = target && chosen('target', everyTarget, target)
  const fitting = profile || !quick ? profiles : quickProfiles
  const loads = chosen('profile', Object.keys(fitting), profile).map((name) => {
    const load = (quick && quickProfiles[name]) || profiles[name]
    return loadOf(name, name === 'paced' ? longer(load, events) : load, quick)
  })
  const texts = chosen('text', ['ascii', 'cjk'], text)
  const cases = loads.flatMap((load) =>
    // The quick run looks at Chinese where bytes matter.
    texts
      .filter((name) => !quick || text || name === 'ascii' || load.name === 'blast')
      .map((name) => ({ ...load, text: name })),
  )
  return chosen('kind', Object.keys(kinds), kind)
    .map((name) => {
      const { floor, bounds, ours, peers: others } = kinds[name]
      const all = [...(wanted || !quick ? bounds : []), ...ours, ...(wanted || peers || !quick ? others : [])]
      const targets = [floor, ...(wanted ? all.filter((each) => wanted.includes(each)) : all)]
      return { kind: name, targets, peers: others, cases, quick }
    })
    .filter(({ targets }) => !wanted || targets.some((each) => wanted.includes(each)))
}
