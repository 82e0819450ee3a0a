const [width, height, left, right] = [400, 74, 10, 384]
const longSilenceMs = 700

/** The events so far, drawn as they come. */
export class Timeline {
  /**
   * @param {Element} section where it is drawn
   * @param {{ spanMs: number, timeouts?: { firstByteMs: number, inactivityMs: number, totalMs: number } }} about
   *   its length, and the deadlines to draw, if there are any
   */
  constructor(section, { spanMs, timeouts }) {
    section.querySelector('svg')?.remove()
    this.spanMs = spanMs
    this.timeouts = timeouts
    this.svg = draw(section, 'svg', { viewBox: `0 0 ${width} ${height}`, role: 'img' })
    this.label('nothing yet')
    this.gaps = draw(this.svg, 'g', {})
    draw(this.svg, 'path', { class: 'axis', d: `M${left} 50H${right}` })
    for (let second = 0; second <= spanMs / 1000; second += 2) {
      const text = draw(this.svg, 'text', { x: this.at(second * 1000), y: 68, 'text-anchor': 'middle' })
      text.textContent = `${second} s`
    }
    this.startedAt = performance.now()
    this.lastAt = 0
    this.isAway = false
    this.counts = { event: 0, heartbeat: 0 }
    this.expect(timeouts?.firstByteMs)
    this.ticking = setInterval(() => this.silence(), 100)
  }

  get now() {
    return performance.now() - this.startedAt
  }

  at(ms) {
    return left + Math.min(ms / this.spanMs, 1) * (right - left)
  }

  label(text) {
    this.svg.setAttribute('aria-label', `Timeline: ${text}`)
  }

  came(kind, isLast = false) {
    const now = this.now
    this.silence(now)
    if (kind === 'event') draw(this.svg, 'path', { class: 'event', d: `M${this.at(now)} 22V50` })
    else draw(this.svg, 'circle', { class: 'beat', cx: this.at(now), cy: 36, r: 4 })
    this.counts[kind]++
    this.label(`${this.counts.event} events, ${this.counts.heartbeat} heartbeats`)
    this.lastAt = now
    this.gap = undefined
    this.isAway = false
    if (kind === 'event' && !isLast) this.expect(now + this.timeouts?.inactivityMs)
  }

  /** From now on the client has no connection. */
  lost() {
    this.silence()
    this.gap = undefined
    this.lastAt = this.now
    this.isAway = true
  }

  /** Grows while nothing comes. */
  silence(now = this.now) {
    if (!this.isAway && now - this.lastAt < longSilenceMs) return
    const look = { class: this.isAway ? 'away' : 'gap', x: this.at(this.lastAt), y: 22, height: 28 }
    this.gap ??= draw(this.gaps, 'rect', look)
    this.gap.setAttribute('width', this.at(now) - this.at(this.lastAt))
  }

  expect(ms) {
    if (!this.timeouts) return
    this.deadline ??= draw(this.svg, 'path', { class: 'deadline' })
    this.deadline.setAttribute('d', `M${this.at(Math.min(ms, this.timeouts.totalMs))} 10V58`)
  }

  stop() {
    clearInterval(this.ticking)
  }

  end(isGood) {
    this.silence()
    this.stop()
    draw(this.svg, 'path', { class: `end ${isGood ? 'good' : 'bad'}`, d: `M${this.at(this.now)} 14V54` })
  }
}

function draw(parent, name, attributes) {
  const element = document.createElementNS('http://www.w3.org/2000/svg', name)
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value)
  parent.append(element)
  return element
}
