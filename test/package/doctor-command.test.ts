import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { describe, expect, test } from 'vitest'
import { startChatServer } from '../support/chat-server.js'
import { startExample } from '../support/example-server.js'

describe('unhang doctor', () => {
  async function doctor(...args: string[]) {
    const child = spawn(process.execPath, ['dist/cli.js', ...args])
    const text = { out: '', error: '' }
    child.stdout.on('data', (piece) => {
      text.out += piece
    })
    child.stderr.on('data', (piece) => {
      text.error += piece
    })
    const [status] = await once(child, 'close')
    return { status, ...text }
  }

  test('finds nothing in the example', async () => {
    await using example = await startExample('express-server.ts')
    const { status, out } = await doctor('doctor', `${example.url}/v1`)
    expect(out).toContain('Nothing was found that hangs up.')
    expect(out).not.toContain('FINDING')
    expect(status).toBe(0)
  })

  test('says first what it will send, shows what it found, and exits with 1', async () => {
    await using server = await startChatServer({ head: (head) => head.replace('timeout=75', 'timeout=5') })
    const { status, out } = await doctor('doctor', `${server.url}/v1/chat/completions/?api-version=2`)
    expect(server.exchanges[1]?.head).toMatch(/^POST \/v1\/chat\/completions\?api-version=2 /)
    expect(out).toMatch(/^Sends at most 8 requests to .*: 6 chats of at most 200 tokens/)
    expect(out).toMatch(/^FINDING {2}keep-alive .*timeout=5$/m)
    expect(out).toMatch(/^ {2}fix {7}alignServerTimeouts/m)
    expect(out).toMatch(/One finding\.\n$/)
    expect(status).toBe(1)
  })

  test('as JSON, and nothing else', async () => {
    await using server = await startChatServer({ head: (head) => head.replace('timeout=75', 'timeout=5') })
    const { status, out } = await doctor('doctor', server.url, '--json', '--model', 'mine')
    const { checks, model } = JSON.parse(out)
    expect(model).toBe('mine')
    expect(checks.filter(({ outcome }: { outcome: string }) => outcome === 'finding')).toHaveLength(1)
    expect(status).toBe(1)
  })

  test.each([
    [['doctor', 'nonsense'], 'URL must be one of http or https, say http://127.0.0.1:3000/v1, got nonsense'],
    [['doctor', 'ftp://127.0.0.1'], 'got ftp://127.0.0.1'],
    [['doctor'], 'Usage: unhang doctor URL'],
    [[], 'Usage: unhang doctor URL'],
    [['doctor', 'http://127.0.0.1', '--nope'], "Unknown option '--nope'"],
  ])('refuses %j', async (args, message) => {
    expect(await doctor(...args)).toMatchObject({
      status: 2,
      error: expect.stringContaining(message),
      out: '',
    })
  })

  test('knows its version', async () => {
    const { version } = JSON.parse(await readFile('package.json', 'utf8'))
    expect(await doctor('--version')).toMatchObject({ status: 0, out: `${version}\n` })
  })

  test('explains itself', async () => {
    expect(await doctor('--help')).toMatchObject({
      status: 0,
      out: expect.stringContaining('Usage: unhang doctor URL'),
    })
  })
})
