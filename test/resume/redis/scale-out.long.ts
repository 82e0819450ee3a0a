import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chromium } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { eventsIn } from '../resumable.js'

const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium'
const said =
  'Every word you read here has come as an event of its own. Cut the connection while you read: the page asks for what it has missed, and for nothing else. No word is lost, and no word comes twice. Hello'

/** The command of the page's README: nginx, Redis and two processes. */
async function start() {
  const child = spawn(process.execPath, ['--import', 'tsx', 'examples/scale-out/start.ts'], {
    env: { ...process.env, NODE_OPTIONS: '' },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let output = ''
  const url = await new Promise<string>((resolve, reject) => {
    child.stdout.on('data', (text) => {
      output += text
      const [found] = /http:\/\/127\.0\.0\.1:\d+/.exec(output) ?? []
      if (found) resolve(found)
    })
    child.once('exit', (code) => reject(new Error(`exit ${code}: ${output}`)))
  })
  return {
    url,
    /** Of one of the processes, without a choice of nginx. */
    async kill(name: string) {
      const killed = { method: 'POST', headers: { 'playground-kill': '1' } }
      await fetch(`${url}/process/${name}/playground/kill`, killed)
      await expect.poll(() => output).toContain(`${name} ended with SIGKILL`)
      output = output.replace(`${name} ended with SIGKILL`, '')
      return async () => {
        const path = `${url}/process/${name}/playground/process`
        await expect.poll(() => fetch(path).then(({ status }) => status), { timeout: 10_000 }).toBe(200)
      }
    },
    async close() {
      child.kill('SIGTERM')
      if (child.exitCode === null) await once(child, 'exit')
    },
  }
}

let place: Awaited<ReturnType<typeof start>>
beforeAll(async () => {
  place = await start()
}, 60_000)
afterAll(() => place?.close())

/** A client that counts: it reads until so many events have come, or to the end, or until its connection breaks. */
async function read(path: string, until = Number.POSITIVE_INFINITY) {
  const controller = new AbortController()
  const response = await fetch(`${place.url}${path}`, { signal: controller.signal })
  const decoder = new TextDecoder()
  const reader = response.body?.getReader()
  let body = ''
  return {
    id: response.headers.get('unhang-stream'),
    process: response.headers.get('playground-process'),
    status: response.status,
    async more(count = until): Promise<string[]> {
      try {
        while (reader && eventsIn(body).length < count) {
          const { done, value } = await reader.read()
          if (done) break
          body += decoder.decode(value, { stream: true })
        }
      } catch {
        // The connection is broken: what has come has come.
      }
      return eventsIn(body)
    },
    leave: () => controller.abort(),
    body: () => body,
  }
}

/** Rejoins until a process other than one responds: nginx takes turns. */
async function rejoin(id: string | null, after: number, other?: string) {
  for (;;) {
    const rejoined = await read(`/playground/streams/${id}?after=${after}`)
    const isBad = rejoined.status >= 502 && rejoined.process === null
    if (!isBad && rejoined.process !== other) return rejoined
    rejoined.leave()
  }
}

const contentOf = (events: string[]) =>
  events
    .filter((event) => event !== '[DONE]')
    .map((event) => JSON.parse(event).choices?.[0]?.delta?.content ?? '')
    .join('')

describe('two processes behind nginx', () => {
  test('the process that serves a client is killed, not the one that produces: nothing is lost', async () => {
    const first = await read('/process/1/playground/with?fault=good')
    const had = await first.more(5)
    expect(first.process).toBe('1')
    first.leave()
    const second = await rejoin(first.id, had.length, '1')
    expect(second.process).toBe('2')
    const more = await second.more(8)
    const isBack = await place.kill('2')
    const broken = await second.more()
    expect(broken.length).toBeGreaterThanOrEqual(more.length)
    const third = await rejoin(first.id, had.length + broken.length, '2')
    expect(third.process).toBe('1')
    const rest = await third.more()
    const all = [...had, ...broken, ...rest]
    expect(all.at(-1)).toBe('[DONE]')
    expect(contentOf(all)).toBe(said)
    await isBack()
  })

  test('the process that produces is killed: every recorded event once, then producer_lost', async () => {
    const first = await read('/process/2/playground/with?fault=good')
    await first.more(12)
    const isBack = await place.kill('2')
    const had = await first.more()
    expect(had.at(-1)).not.toBe('[DONE]')
    // What was recorded can be read from the start, in another process.
    const again = await rejoin(first.id, 0, '2')
    const recorded = await again.more()
    expect(again.process).toBe('1')
    expect(JSON.parse(recorded.at(-1) ?? '').error.code).toBe('producer_lost')
    const content = contentOf(recorded.slice(0, -1))
    expect(content.length).toBeGreaterThan(0)
    expect(said.startsWith(content)).toBe(true)
    // Recorded is what the client has had, but for the last flush.
    expect(had.length - (recorded.length - 1)).toBeLessThanOrEqual(2)
    await isBack()
    // A client of the new process gets the same.
    const late = await read(`/process/2/playground/streams/${first.id}?after=${recorded.length - 1}`)
    await late.more()
    expect(late.body()).toContain('producer_lost')
  })

  test('the page: both buttons, one after the other', async () => {
    const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] })
    try {
      const page = await browser.newPage()
      await page.goto(place.url)
      await page.selectOption('#fault', 'good')
      await page.click('button[type=submit]')
      const text = page.locator('[data-side=with] .text')
      await text.filter({ hasText: 'own' }).waitFor()
      await page.click('#cut')
      await page.locator('#note').filter({ hasText: 'the answer goes on' }).waitFor()
      await page.click('#kill')
      const ending = page.locator('[data-side=with] .ending')
      await ending.filter({ hasText: /\S/ }).waitFor()
      expect(await ending.textContent()).toBe('Complete, after a lost connection.')
      expect(await text.textContent()).toBe(said)
      expect(await page.locator('[data-side=with] .away').count()).toBe(2)
    } finally {
      await browser.close()
    }
  })
})
