import { errorOf, readEvents } from './read-events.js'
import { Timeline } from './timeline.js'

const find = (id) => document.getElementById(id)
const { timeouts, scenarios, apis, canKill } = JSON.parse(find('settings').textContent)
const [api, fault, note, cut, kill] = ['api', 'fault', 'note', 'cut', 'kill'].map(find)
/** How long a client that lost its connection waits before it asks again. */
const pauseMs = 600
const maxAttempts = 8

/** One response that one side of the page reads, with what the page does when it is cut. */
class Watched {
  constructor(side, prefix, over) {
    this.side = side
    this.section = document.querySelector(`[data-side=${side}]`)
    this.section.classList.add('running')
    this.text = this.section.querySelector('.text')
    this.ending = this.section.querySelector('.ending')
    this.text.classList.remove('soft')
    this.text.textContent = this.ending.textContent = ''
    this.ending.className = 'ending'
    this.url = `${prefix}/playground/${side}?${query()}`
    this.over = over
    this.spanMs = fault.value === 'good' ? 18_000 : 10_000
    this.giveUp = AbortSignal.timeout(this.spanMs)
    this.timeline = new Timeline(this.section, {
      spanMs: this.spanMs,
      timeouts: side === 'with' ? timeouts : undefined,
    })
    this.connection = new AbortController()
    /** How many events have come: where the page goes on when it asks again. */
    this.count = 0
    this.rejoined = 0
  }

  cut() {
    this.connection.abort()
  }

  say(isGood, words) {
    this.timeline.end(isGood)
    this.section.classList.remove('running')
    this.ending.textContent = words
    this.ending.classList.add(isGood ? 'good' : 'bad')
  }

  /** Reads to the end, and rejoins the stream whenever the connection is lost. */
  async watch() {
    for (let attempts = 0; attempts < maxAttempts; attempts++) {
      const before = this.count
      try {
        if (await this.read()) return
      } catch (error) {
        if (this.over.aborted) return this.stop()
        if (this.giveUp.aborted) return this.say(false, 'It hangs: a client would wait for ever.')
        if (this.streamId === undefined) return this.say(false, this.lossOf(error))
      }
      if (this.count > before) attempts = 0
      this.timeline.lost()
      await new Promise((resolve) => setTimeout(resolve, pauseMs))
      if (this.over.aborted) return this.stop()
      this.url = `/playground/streams/${this.streamId}?after=${this.count}`
      this.connection = new AbortController()
      this.rejoined++
    }
    this.say(false, 'The server does not respond.')
  }

  stop() {
    this.timeline.stop()
    this.section.classList.remove('running')
  }

  lossOf({ name, message }) {
    if (this.connection.signal.aborted) return 'Cut: the rest of the answer is lost.'
    return name === 'SyntaxError' ? 'Not an answer of this API, and no error.' : `Cut: ${message}`
  }

  /** @returns whether the stream is over */
  async read() {
    const signal = AbortSignal.any([this.over, this.giveUp, this.connection.signal])
    const response = await fetch(this.url, { signal })
    if (!response.ok) {
      const body = await response.json().catch(() => undefined)
      // The server in front found no process, or the process no Redis: not yet.
      if (this.rejoined > 0 && (!body || body.error.code === 'resume_unavailable')) return false
      this.say(
        body !== undefined,
        body ? `Status ${response.status}: ${errorOf(body)}` : `Status ${response.status}.`,
      )
      return true
    }
    this.streamId ??= response.headers.get('unhang-stream') ?? undefined
    this.process = response.headers.get('playground-process') ?? undefined
    this.producer ??= this.process
    explain(this)
    let last
    for await (const event of readEvents(response)) {
      this.timeline.came(event === 'heartbeat' ? event : 'event', event.isLast)
      if (event === 'heartbeat') continue
      this.count++
      this.text.textContent += event.text ?? ''
      last = event
    }
    if (last?.error) this.say(true, `Error event: ${last.error}`)
    else if (last?.isLast) this.say(true, this.rejoined ? 'Complete, after a lost connection.' : 'Complete.')
    else if (this.streamId) return false
    else
      this.say(
        false,
        this.count === 0
          ? 'An empty reply, and no error.'
          : 'It simply ends: half an answer that looks complete.',
      )
    return true
  }
}

const query = () => new URLSearchParams({ fault: fault.value, api: api.value })

/** Says what the buttons do to the stream that is being read. */
function explain({ side, process, producer, streamId } = {}) {
  if (side !== undefined && side !== 'with') return
  if (!canKill) {
    note.textContent =
      'Cut: with unhang, the page asks for what it has missed, and the answer goes on. To kill the server, start a second one and Redis: npm run start:scale-out.'
  } else if (streamId === undefined) {
    note.textContent = 'Two processes share a Redis behind nginx. A killed process starts again by itself.'
  } else if (process === producer) {
    note.textContent = `Process ${process} calls the model and serves you. If you kill it, you get all that was recorded, then an error. Cut first: process ${process} then only calls the model, and another one serves you.`
  } else {
    note.textContent = `Process ${producer} calls the model, process ${process} serves you. Kill process ${process}: the answer goes on.`
  }
}

let running = new AbortController()
let watched = []

async function start() {
  running.abort()
  running = new AbortController()
  const { signal } = running
  // Behind nginx both sides ask one process, so that killing it is the same for both.
  const prefix = canKill ? `/process/${await (await fetch('/playground/process')).text()}` : ''
  if (signal.aborted) return
  watched = ['without', 'with'].map((side) => new Watched(side, prefix, signal))
  cut.disabled = false
  kill.disabled = !canKill
  await Promise.all(watched.map((each) => each.watch()))
  if (signal.aborted) return
  cut.disabled = kill.disabled = true
  explain()
}

function showCommand() {
  find('curl').textContent = `curl -N '${location.origin}/playground/with?${query()}'`
}

for (const [name, choices] of Object.entries(scenarios)) {
  const group = document.createElement('optgroup')
  group.label = name
  for (const { fault: value, label } of choices) group.append(new Option(label, value))
  fault.append(group)
}
for (const { api: value, label } of apis) api.append(new Option(label, value))
fault.value = 'resetMidStream'
explain()
showCommand()
for (const select of [api, fault]) select.addEventListener('change', showCommand)
document.querySelector('form').addEventListener('submit', (event) => {
  event.preventDefault()
  void start()
})
cut.addEventListener('click', () => {
  for (const each of watched) each.cut()
})
kill.addEventListener('click', () => {
  const { process } = watched.find(({ side }) => side === 'with')
  // It cannot respond to that.
  fetch(`/process/${process}/playground/kill`, { method: 'POST', headers: { 'playground-kill': '1' } }).catch(
    () => {},
  )
})
find('copy').addEventListener('click', async () => {
  await navigator.clipboard.writeText(find('curl').textContent)
  find('copy').textContent = 'Copied'
})
