import { type Browser, chromium, type Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type ExampleServer, startExample } from '../support/example-server.js'

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

/** What one side shows when its stream is over. */
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

async function pick(page: Page, fault: string) {
  await page.selectOption('#fault', fault)
  await page.click('button')
  const [without, guarded] = [await watched(page, 'without'), await watched(page, 'with')]
  return { without, guarded }
}

describe('what one sees', () => {
  const said = 'Every word you read here has come as an event of its own.'

  test.each<[string, RegExp, boolean, RegExp]>([
    ['good', /^Complete\.$/, true, /^Complete\.$/],
    ['resetMidStream', /^It hangs|^Cut/, false, /^Told: The upstream closed the connection/],
    ['finMidStream', /^It hangs|^Cut/, false, /^Told: The upstream closed the connection/],
    ['truncated', /^It simply ends/, false, /^Told: The upstream ended the answer before it was complete/],
    ['stalled', /^It hangs/, false, /^Told: The upstream/],
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
    ['silent', /^It hangs/, /^Told: The upstream did not begin to answer in time/],
    ['resetBeforeHead', /^Cut/, /^Told, with status 503/],
    ['rateLimited', /^An empty reply/, /^Told, with status 429/],
    ['jsonError', /^An empty reply/, /^Told, with status 50\d/],
    ['webPage', /^An empty reply/, /^Told, with status 502/],
    ['errorEvent', /^Told/, /^Told, with status 50\d/],
  ])('before the answer: %s', async (fault, without, guarded) => {
    await using opened = await open()
    const seen = await pick(opened.page, fault)
    expect(seen.without.ending).toMatch(without)
    expect(seen.guarded.ending).toMatch(guarded)
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

test('two proxies side by side, as in the picture of the README', async () => {
  await using opened = await open({ viewport: { width: 960, height: 640 }, colorScheme: 'light' })
  await pick(opened.page, 'stalled')
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
