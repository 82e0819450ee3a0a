import { execFile, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { request } from 'node:http'
import { Readable } from 'node:stream'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { startProxyCommand } from '../support/proxy-command.js'

/** `npm run soak:proxy` sets it to 2 000. */
const streams = Number(process.env.PROXY_STREAMS ?? 100)
const megabytes = 300
/** The growth of any process of Node: under 24 it is 87 MB, of 100 MB as well as of 400. */
const growthBytes = 120e6

const run = promisify(execFile)
const script = (name: string) => ['--import', 'tsx', `test/support/proxy-load/${name}.ts`]

async function startUpstreamProcess(atOnce: number) {
  const child = spawn(process.execPath, [...script('upstream'), String(atOnce)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [port] = await once(child.stdout, 'data')
  return {
    url: `http://127.0.0.1:${Number(String(port))}`,
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      await once(child, 'close')
    },
  }
}

test(`${streams} streams at once, with clients and upstream in processes of their own`, async () => {
  await using upstream = await startUpstreamProcess(streams)
  await using proxy = await startProxyCommand([upstream.url, '--timeouts', 'advanced'])
  const { stdout } = await run(process.execPath, [...script('clients'), proxy.url, String(streams)])
  expect(JSON.parse(stdout)).toEqual({ whole: streams })
}, 180_000)

test(`${megabytes} MB up and down pass with flat memory`, async () => {
  await using upstream = await startUpstreamProcess(1)
  await using proxy = await startProxyCommand([upstream.url])
  const rss = async () =>
    Number((await run('ps', ['-o', 'rss=', '-p', String(proxy.process.pid)])).stdout) * 1024
  const megabyte = Buffer.alloc(1024 * 1024, 'unhang')
  const file = (count: number) => Readable.from(Array.from({ length: count }, () => megabyte))
  const digest = async (chunks: AsyncIterable<Uint8Array>, look: () => void = () => {}) => {
    const hash = createHash('sha256')
    for await (const chunk of chunks) {
      look()
      hash.update(chunk)
    }
    return hash.digest('hex')
  }
  const upload = async (count: number) => {
    const call = request(`${proxy.url}/up`, { method: 'POST' })
    file(count).pipe(call)
    const [response] = await once(call, 'response')
    return String(await response.toArray())
  }
  const download = async (count: number) => {
    const { body } = await fetch(`${proxy.url}/down?megabytes=${count}`)
    return digest(body as AsyncIterable<Uint8Array> & typeof body)
  }
  await upload(5)
  await download(5)
  const before = await rss()
  let most = 0
  const looking = setInterval(async () => {
    most = Math.max(most, await rss())
  }, 100)
  const whole = await digest(file(megabytes))
  expect(await upload(megabytes)).toBe(whole)
  expect(await download(megabytes)).toBe(whole)
  clearInterval(looking)
  most = Math.max(most, await rss())
  expect(most - before).toBeLessThan(growthBytes)
}, 120_000)
