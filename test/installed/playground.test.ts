import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { type Browser, chromium, type Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type ExampleServer, startExample } from '../support/example-server.js'

const run = promisify(execFile)
const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium'
let browser: Browser
let example: ExampleServer

beforeAll(async () => {
  browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] })
  example = await startExample('express-server.ts')
})
afterAll(async () => {
  await browser?.close()
  await example?.[Symbol.asyncDispose]()
})

interface Watched {
  ending: string
  text: string
  timeline: string
  isGood: boolean
}

async function open(options: Parameters<Browser['newPage']>[0] = {}) {
  const page = await browser.newPage(options)
  const problems: string[] = []
  page.on('pageerror', (error) => problems.push(error.message))
  await page.goto(example.url)
  return { page, problems, [Symbol.asyncDispose]: () => page.close() }
}

/** The text that one side shows when its stream is over. */
async function watched(page: Page, side: 'with' | 'without'): Promise<Watched> {
  const section = page.locator(`[data-side=${side}]`)
  const ending = section.locator('.ending')
  await ending.filter({ hasText: /\S/ }).waitFor({ timeout: 20_000 })
  return {
    ending: (await ending.textContent()) ?? '',
    text: (await section.locator('.text').textContent()) ?? '',
    timeline: (await section.locator('svg').getAttribute('aria-label')) ?? '',
    isGood: (await ending.getAttribute('class'))?.includes('good') ?? false,
  }
}

async function pick(page: Page, fault: string, api = 'openai') {
  await page.selectOption('#api', api)
  await page.selectOption('#fault', fault)
  await page.click('button[type=submit]')
  const [without, guarded] = [await watched(page, 'without'), await watched(page, 'with')]
  return { without, guarded }
}

describe.concurrent('the page shows', () => {
  const said = 'Every word you read here has come as an event of its own.'
  const whatIsSaid =
    'Cut the connection while you read: the page asks for what it has missed, and for nothing else. No word is lost, and no word comes twice.'

  test.each<[string, RegExp, boolean, RegExp]>([
    ['good', /^Complete\.$/, true, /^Complete\.$/],
    ['resetMidStream', /^It hangs|^Cut/, false, /^Error event: The upstream closed the connection/],
    ['finMidStream', /^It hangs|^Cut/, false, /^Error event: The upstream closed the connection/],
    [
      'truncated',
      /^It simply ends/,
      false,
      /^Error event: The upstream ended the answer before it was complete/,
    ],
    ['stalled', /^It hangs/, false, /^Error event: The upstream/],
  ])('in mid-answer: %s', async (fault, without, isGood, guarded) => {
    await using opened = await open()
    const seen = await pick(opened.page, fault)
    expect(seen.without.ending).toMatch(without)
    expect(seen.without.isGood).toBe(isGood)
    expect(seen.guarded.ending).toMatch(guarded)
    expect(seen.guarded.isGood).toBe(true)
    expect(seen.guarded.text).toContain(said)
    expect(seen.guarded.timeline).toMatch(/Timeline: \d\d events/)
    expect(opened.problems).toEqual([])
  })

  test.each<[string, RegExp, RegExp]>([
    ['silent', /^It hangs/, /^Error event: The upstream did not begin to respond in time/],
    ['resetBeforeHead', /^Cut/, /^Status 503/],
    ['rateLimited', /^An empty reply/, /^Status 429/],
    ['jsonError', /^An empty reply/, /^Status 50\d/],
    ['webPage', /^An empty reply/, /^Status 502/],
    ['errorEvent', /^Error event/, /^Status 50\d/],
  ])('before the answer: %s', async (fault, without, guarded) => {
    await using opened = await open()
    const seen = await pick(opened.page, fault)
    expect(seen.without.ending).toMatch(without)
    expect(seen.guarded.ending).toMatch(guarded)
    expect(opened.problems).toEqual([])
  })

  test.each(['openai', 'gemini', 'ollama'])('a connection that is cut: %s', async (api) => {
    await using opened = await open()
    const { page } = opened
    expect(await page.locator('#cut').isDisabled()).toBe(true)
    await page.selectOption('#api', api)
    await page.selectOption('#fault', 'good')
    await page.click('button[type=submit]')
    await page.locator('[data-side=with] .text').filter({ hasText: 'Cut' }).waitFor()
    await page.click('#cut')
    const [without, guarded] = [await watched(page, 'without'), await watched(page, 'with')]
    expect(without).toMatchObject({ ending: 'Cut: the rest of the answer is lost.', isGood: false })
    expect(guarded).toMatchObject({ ending: 'Complete, after a lost connection.', isGood: true })
    expect(guarded.text).toBe(`${said} ${whatIsSaid} Hello`)
    expect(await page.locator('[data-side=with] .away').count()).toBe(1)
    expect(opened.problems).toEqual([])
  })

  test.each(['gemini', 'ollama'])('in mid-answer: %s', async (api) => {
    await using opened = await open()
    const { guarded } = await pick(opened.page, 'finMidStream', api)
    expect(guarded.ending).toMatch(/^Error event: The upstream closed the connection/)
    expect(opened.problems).toEqual([])
  })

  test('heartbeats and silence are drawn while nothing comes, and the deadline that ends it', async () => {
    await using opened = await open()
    const { guarded } = await pick(opened.page, 'silent')
    expect(guarded.timeline).toMatch(/[2-4] heartbeats/)
    const drawn = (selector: string) => opened.page.locator(`[data-side=with] ${selector}`).count()
    expect(await drawn('.beat')).toBeGreaterThanOrEqual(2)
    expect(await drawn('.gap')).toBeGreaterThanOrEqual(1)
    expect(await drawn('.deadline')).toBe(1)
    expect(await drawn('.end.good')).toBe(1)
  })
})

test('with the keyboard alone', async () => {
  await using opened = await open()
  const { page } = opened
  await page.keyboard.press('Tab')
  await page.keyboard.press('Tab')
  await page.keyboard.press('Home')
  await page.keyboard.press('Tab')
  await page.keyboard.press('Enter')
  expect((await watched(page, 'with')).ending).toBe('Complete.')
  await page.keyboard.press('Space')
  await page.locator('[data-side=with] .ending').filter({ hasNotText: /\S/ }).waitFor()
})

test.each(['light', 'dark'] as const)('readable in the %s, and on a phone', async (colorScheme) => {
  await using opened = await open({ colorScheme, viewport: { width: 360, height: 740 } })
  const { page } = opened
  // As text: the types of this project know no browser.
  const measured = await page.evaluate<{
    color: string
    backgroundColor: string
    fits: boolean
    isBelow: boolean
  }>(`(() => {
    const { color, backgroundColor } = getComputedStyle(document.body)
    const [first, second] = [...document.querySelectorAll('section')].map((side) => side.getBoundingClientRect())
    const fits = document.documentElement.scrollWidth <= window.innerWidth
    return { color, backgroundColor, fits, isBelow: second.top >= first.bottom }
  })()`)
  const brightness = (rgb: string) => Number(/\d+/.exec(rgb)?.[0])
  const contrast = brightness(measured.color) - brightness(measured.backgroundColor)
  expect(colorScheme === 'dark' ? contrast : -contrast).toBeGreaterThan(150)
  expect(measured).toMatchObject({ fits: true, isBelow: true })
})

test('the server cannot be killed where there is no other: the page says what it takes', async () => {
  await using opened = await open()
  await opened.page.click('button[type=submit]')
  await opened.page.locator('#cut:enabled').waitFor()
  expect(await opened.page.locator('#kill').isDisabled()).toBe(true)
  expect(await opened.page.textContent('#note')).toContain('npm run start:scale-out')
  const kill = { method: 'POST', headers: { 'playground-kill': '1' } }
  expect((await fetch(`${example.url}/playground/kill`, kill)).status).toBe(404)
})

test('the command to copy does what the page does', async () => {
  await using opened = await open()
  const { page } = opened
  await page.context().grantPermissions(['clipboard-read', 'clipboard-write'])
  await page.selectOption('#api', 'ollama')
  await page.selectOption('#fault', 'rateLimited')
  await page.click('#copy')
  const command = await page.evaluate<string>('navigator.clipboard.readText()')
  expect(command).toBe(`curl -N '${example.url}/playground/with?fault=rateLimited&api=ollama'`)
  const { stdout } = await run('sh', ['-c', command])
  expect(JSON.parse(stdout)).toEqual({ error: expect.any(String) })
})

test.each([
  ['reduce', 0],
  ['no-preference', 2],
] as const)('motion: %s', async (reducedMotion, moving) => {
  await using opened = await open({ reducedMotion })
  await opened.page.click('button[type=submit]')
  await opened.page.locator('.running').nth(1).waitFor()
  expect(await opened.page.evaluate('document.getAnimations().length')).toBe(moving)
})

test('two proxies side by side, as in the picture of the README', async () => {
  await using opened = await open({ viewport: { width: 960, height: 640 }, colorScheme: 'light' })
  const { without, guarded } = await pick(opened.page, 'stalled')
  // As the text says that stands for the picture: the one hangs, the other has an error.
  expect(without).toMatchObject({ ending: expect.stringMatching(/^It hangs/), isGood: false })
  expect(guarded).toMatchObject({ ending: expect.stringMatching(/^Error event/), isGood: true })
  const picture = await opened.page.screenshot(process.env.SCREENSHOT ? { path: process.env.SCREENSHOT } : {})
  expect(picture.length).toBeGreaterThan(10_000)
})

test('nothing comes from elsewhere', async () => {
  await using opened = await open()
  const asked: string[] = []
  opened.page.on('request', (request) => asked.push(request.url()))
  await opened.page.reload()
  await pick(opened.page, 'rateLimited')
  expect(asked.filter((url) => !url.startsWith(example.url) && !url.startsWith('data:'))).toEqual([])
})
