import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { afterEach, expect, test } from 'vitest'
import { rawRequest } from '../support/raw-client.js'

/** A server of one stream, which ends when its client has had the signal's time. */
const program = `
  import { createServer } from 'node:http'
  import { drainOnSignals, handleStream } from './dist/index.js'
  const server = createServer((request, response) => {
    void handleStream(response, async ({ writer }) => {
      await writer.write({ data: 'begun' })
      await new Promise((resolve) => process.once('message', resolve))
      await writer.write({ data: 'finished' })
    }, { dialect: 'plain' })
  }).listen(0, '127.0.0.1', () => process.send(server.address().port))
  drainOnSignals(server, { graceMs: 30_000 })
  process.on('SIGTERM', () => process.send('seen'))
`

const children: ChildProcess[] = []
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
})

async function start() {
  const stdio = ['ignore', 'ignore', 'inherit', 'ipc'] as const
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], { stdio: [...stdio] })
  children.push(child)
  const [port] = await once(child, 'message')
  const seen = async () => {
    const message = once(child, 'message')
    child.kill('SIGTERM')
    await message
  }
  return { child, port: port as number, signal: seen }
}

test('the signal comes twice, as from npm and a terminal: the stream finishes, and the process ends with 0', async () => {
  const { child, port, signal } = await start()
  using client = await rawRequest({ port }).received('begun')
  await signal()
  await signal()
  child.send('finish')
  await client.finished()
  expect(client.bodyText).toBe('data: begun\n\ndata: finished\n\n')
  expect(client.body.complete).toBe(true)
  expect(await once(child, 'exit')).toEqual([0, null])
})

test('one that comes more than a second later ends the process at once', async () => {
  const { child, port, signal } = await start()
  using _client = await rawRequest({ port }).received('begun')
  await signal()
  const exited = once(child, 'exit')
  // The child's own clock decides: it is asked again until its second is over.
  const again = setInterval(() => child.kill('SIGTERM'), 200)
  expect(await exited).toEqual([1, null])
  clearInterval(again)
})
