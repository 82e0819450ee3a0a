import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join, resolve } from 'node:path'
import { type Browser, chromium, type Page } from 'playwright-core'
import { expect } from 'vitest'
import { freePort } from '../support/free-port.js'

/** Where `npm run test:sillytavern` has put it. */
const folder = resolve('.sillytavern')

/** The start of the server. */
interface Start {
  /** The arguments of Node before the server. */
  flags?: readonly string[]
  environment?: Readonly<Record<string, string>>
}

/** Starts SillyTavern's server. The first start takes a minute: it builds its page. */
async function startServer({ flags = [], environment = {} }: Start) {
  const port = await freePort()
  const options = { port, dataRoot: join(folder, 'data'), configPath: join(folder, 'config.yaml') }
  const child = spawn(
    process.execPath,
    [
      ...flags,
      'node_modules/sillytavern/server.js',
      ...Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)]),
      '--browserLaunchEnabled=false',
    ],
    { cwd: folder, env: { ...process.env, ...environment }, stdio: ['ignore', 'pipe', 'ignore'] },
  )
  await new Promise<void>((resolve, reject) => {
    child.stdout.on('data', (text) => String(text).includes('Go to:') && resolve())
    child.once('exit', (code) => reject(new Error(`SillyTavern exited with ${code}`)))
  })
  return { port, url: `http://127.0.0.1:${port}/`, child }
}

/** A chat in SillyTavern's page, connected to a proxy as its user would have it. */
interface SillyTavernChat extends AsyncDisposable {
  send(text: string): Promise<void>
  /** Whether it generates no more, at the latest after this time. */
  settled(longestMs?: number): Promise<boolean>
  stop(): Promise<void>
  /** Waits until a reply has this text. */
  replied(text: string): Promise<void>
  replies(): Promise<string[]>
  /** The text of everything it has popped up. */
  toasts(): Promise<string[]>
}

export interface SillyTavern extends AsyncDisposable {
  readonly port: number
  /** @param model default `my-model` */
  open(baseUrl: string, streaming: boolean, model?: string): Promise<SillyTavernChat>
}

/** The notes of `seen.js`. */
interface Seen {
  toasts: string[]
  generations: number
}

/** The settings that let it connect at once; the rest is as it comes. */
function connected(settings: Record<string, object>, baseUrl: string, streaming: boolean, model: string) {
  const { power_user, oai_settings } = settings
  return {
    ...settings,
    firstRun: false,
    main_api: 'openai',
    power_user: { ...power_user, auto_connect: true },
    oai_settings: {
      ...oai_settings,
      chat_completion_source: 'custom',
      custom_url: baseUrl,
      custom_model: model,
      stream_openai: streaming,
    },
  }
}

async function openPage(
  browser: Browser,
  url: string,
  connect: (settings: Record<string, object>) => object,
): Promise<Page> {
  const page = await browser.newPage()
  await page.route('**/api/settings/get', async (route) => {
    const response = await route.fetch()
    const json = await response.json()
    const settings = JSON.stringify(connect(JSON.parse(json.settings)))
    await route.fulfill({ response, json: { ...json, settings } })
  })
  await page.addInitScript({ path: 'test/sillytavern/seen.js' })
  await page.route('**/api/settings/save', (route) => route.fulfill({ json: { result: 'ok' } }))
  await page.goto(url)
  await page.locator('#preloader').waitFor({ state: 'detached' })
  await page.locator('.online_status_text', { hasText: 'Valid' }).first().waitFor({ state: 'attached' })
  return page
}

export async function startSillyTavern(start: Start = {}): Promise<SillyTavern> {
  const { port, url, child } = await startServer(start)
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-quic', '--disable-background-networking'],
  })
  return {
    port,
    async open(baseUrl, streaming, model = 'my-model') {
      const page = await openPage(browser, url, (settings) => connected(settings, baseUrl, streaming, model))
      const replies = page.locator('#chat .mes[is_user=false] .mes_text')
      const seen = () => page.evaluate<Seen>('seen')
      return {
        async send(text) {
          const { generations } = await seen()
          await page.locator('#send_textarea').fill(text)
          await page.keyboard.press('Enter')
          await expect
            .poll(async () => (await seen()).generations, { timeout: 15_000 })
            .toBeGreaterThan(generations)
        },
        settled: (longestMs = 10_000) =>
          page
            .locator('body[data-generating]')
            .waitFor({ state: 'detached', timeout: longestMs })
            .then(
              () => true,
              () => false,
            ),
        stop: () => page.locator('#mes_stop').click(),
        replied: (text) => replies.filter({ hasText: text }).first().waitFor(),
        replies: async () => (await replies.allInnerTexts()).filter((text) => text !== ''),
        toasts: async () => (await seen()).toasts,
        [Symbol.asyncDispose]: () => page.close(),
      }
    },
    async [Symbol.asyncDispose]() {
      await browser.close()
      child.kill('SIGKILL')
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
    },
  }
}
