import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import https from 'node:https'
import { connect } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'
import { faults, RawClient, rawRequest, startUpstream } from '../../src/testing/index.js'
import { certificate } from '../support/certificate.js'
import { chatAnswer, chatChunk, failureOf, textOf } from '../support/chat.js'
import { startOrigin } from '../support/origin.js'
import { listenOn } from '../support/proxy.js'
import { startProxyCommand } from '../support/proxy-command.js'
import { workshop } from '../support/workshop.js'

const run = promisify(execFile)
const chat = { model: 'test-model', stream: true, messages: [] }

test('curl -N reads each event as it comes, and how a broken stream ended', async () => {
  await using upstream = await startUpstream((exchange) => exchange.open().data(chatChunk('Hel')))
  await using proxy = await startProxyCommand([upstream.url, '--verbose'])
  const curl = spawn('curl', ['-sN', `${proxy.url}/v1/chat/completions`, '-d', JSON.stringify(chat)])
  let text = ''
  curl.stdout.on('data', (piece) => {
    text += piece
  })
  while (!text.includes('Hel')) await once(curl.stdout, 'data')
  await (await upstream.exchange(0)).reset()
  expect(await once(curl, 'close')).toEqual([0, null])
  const data = [...text.matchAll(/^data: (.*)$/gm)].map(([, json]) => json ?? '')
  expect(failureOf(data).code).toBe('connection_reset')
  await proxy.prints(
    /^POST \/v1\/chat\/completions "test-model": upstream_hangup, status 200, 2 events, \d+ bytes, \d+ ms$/m,
  )
})

test('--metrics counts streams, for Prometheus', async () => {
  await using upstream = await startUpstream((exchange) =>
    exchange.body.includes('bad') ? exchange.reset() : faults.good(exchange),
  )
  await using proxy = await startProxyCommand([upstream.url, '--metrics', '0'])
  const [, url = ''] = await proxy.prints(/^metrics (http:\/\/127\.0\.0\.1:\d+\/metrics)$/m)
  const first = await (await fetch(url)).text()
  expect(first).toContain('unhang_streams_active 0\n')
  for (const model of ['good', 'good', 'bad']) {
    await rawRequest({ port: proxy.port, body: { ...chat, model } }).finished()
  }
  // The record comes after the client has read the end.
  await expect.poll(async () => (await fetch(url)).text()).toContain('upstream_hangup')
  const response = await fetch(url)
  expect(response.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8')
  const text = await response.text()
  expect(text).toContain('# TYPE unhang_streams_total counter\n')
  expect(text).toContain('unhang_streams_total{outcome="completed",phase=""} 2\n')
  expect(text).toContain('unhang_streams_total{outcome="upstream_hangup",phase=""} 1\n')
  expect(text).toContain('unhang_streams_active 0\n')
  expect(text).toContain('unhang_stream_duration_seconds_bucket{outcome="completed",le="+Inf"} 2\n')
  expect(text).toContain('unhang_stream_duration_seconds_count{outcome="completed"} 2\n')
  expect(text).toMatch(/^unhang_stream_first_byte_seconds_sum \d/m)
  // Each line is one that Prometheus takes.
  for (const line of text.trimEnd().split('\n')) {
    expect(line).toMatch(/^(# (HELP|TYPE) \w+ .+|\w+(\{\w+="[^"]*"(,\w+="[^"]*")*\})? -?[\d.e+-]+)$/)
  }
  expect((await fetch(new URL('/', url))).status).toBe(404)
})

describe('a signal', () => {
  test.each(['SIGTERM', 'SIGINT'] as const)(
    '%s lets streams finish, and ends the process',
    async (signal) => {
      await using upstream = await startUpstream((exchange) => exchange.open().data(chatChunk('Hel')))
      await using proxy = await startProxyCommand([upstream.url, '--metrics', '0'])
      using client = await rawRequest({ port: proxy.port, body: chat }).received('Hel')
      proxy.process.kill(signal)
      // Once no client can connect, it is draining.
      for (let isOpen = true; isOpen; ) {
        const socket = connect(proxy.port, '127.0.0.1')
        isOpen = await once(socket, 'connect').then(
          () => true,
          () => false,
        )
        socket.destroy()
      }
      const exchange = await upstream.exchange(0)
      exchange.data(...chatAnswer('lo')).end()
      await client.finished()
      expect(textOf(client.data)).toBe('Hello')
      expect(await proxy.ended()).toBe(0)
    },
  )

  test('ends a process that has a tunnel open', async () => {
    await using origin = await startOrigin()
    await using proxy = await startProxyCommand([origin.url])
    const headers = { Connection: 'Upgrade', Upgrade: 'websocket' }
    using client = await rawRequest({ port: proxy.port, method: 'GET', headers }).received('hello ')
    proxy.process.kill('SIGTERM')
    expect(await proxy.ended()).toBe(0)
    await client.closed()
  })

  test('ends a process whose refused client keeps its side open', async () => {
    await using proxy = await startProxyCommand(['http://127.0.0.1:8080'])
    const socket = connect({ port: proxy.port, host: '127.0.0.1', allowHalfOpen: true })
    using client = await new RawClient(socket).send({ method: 'CONNECT', path: 'a:443' }).closed()
    expect(client.status).toBe(405)
    proxy.process.kill('SIGTERM')
    expect(await proxy.ended()).toBe(0)
  })
})

test('an upstream of https: is called by its name, and believed if its certificate is', async () => {
  const server = https.createServer(certificate, (request, response) => response.end(request.headers.host))
  await using upstream = await listenOn(server as never)
  await using place = await workshop()
  const ca = join(place.folder, 'ca.pem')
  await writeFile(ca, certificate.cert)
  await using proxy = await startProxyCommand([`https://localhost:${upstream.port}`], {
    NODE_EXTRA_CA_CERTS: ca,
  })
  expect(await (await fetch(proxy.url)).text()).toBe(`localhost:${upstream.port}`)
})

test('the environment sets it up as flags do', async () => {
  await using upstream = await startUpstream((exchange) => exchange.answer('200 OK', exchange.head))
  const environment = { UNHANG_HEADER: 'X-A: 1\nX-B: 2', UNHANG_KEY: 'k' }
  await using proxy = await startProxyCommand([upstream.url], environment)
  expect((await fetch(proxy.url)).status).toBe(401)
  const text = await (await fetch(proxy.url, { headers: { Authorization: 'Bearer k' } })).text()
  expect(text).toMatch(/^X-A: 1$/m)
  expect(text).toMatch(/^X-B: 2$/m)
})

test('a bad value is one line, and exit 1; the help fits a screen', async () => {
  const refused = await run(process.execPath, ['dist/cli.js', 'proxy', 'http://a', '--port', 'x']).catch(
    (error) => error,
  )
  expect(refused).toMatchObject({
    code: 1,
    stdout: '',
    stderr: '--port must be a port from 0 to 65535; got "x"\n',
  })
  const { stdout } = await run(process.execPath, ['dist/cli.js', 'proxy', '--help'])
  const lines = stdout.split('\n')
  expect(lines[0]).toBe('Usage: unhang proxy URL [flags]')
  expect(lines.length).toBeLessThan(24)
  for (const line of lines) expect(line.length).toBeLessThanOrEqual(100)
})
