import { once } from 'node:events'
import OpenAI from 'openai'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { chatAnswer, failureOf, textOf } from '../support/chat.js'
import { type ExampleServer, exampleFiles, failExample, startExample } from '../support/example-server.js'
import { type RawClient, rawRequest } from '../support/raw-client.js'
import { type Script, type ScriptedUpstream, startUpstream } from '../support/scripted-upstream.js'

const hello = { model: 'gpt-4o', messages: [{ role: 'user' as const, content: 'Hello' }] }
const key = { Authorization: 'Bearer sk-client' }

describe.each(exampleFiles)('%s', (file) => {
  describe('on its stand-in', () => {
    let server: ExampleServer
    beforeAll(async () => {
      server = await startExample(file)
    }, 30_000)
    afterAll(() => server[Symbol.asyncDispose]())
    const openai = () => new OpenAI({ apiKey: 'any', baseURL: `${server.url}/v1`, maxRetries: 0 })

    test('curl -N shows tokens one by one, then data: [DONE]', async () => {
      using client = rawRequest({ port: server.port, body: { ...hello, stream: true } })
      await client.received('"content":"You"')
      expect(client.text).not.toContain('[DONE]')
      await client.finished()
      expect(client.data.at(-1)).toBe('[DONE]')
      expect(client.data.length).toBeGreaterThan(20)
      expect(textOf(client.data)).toMatch(/^You asked: “Hello”\..*🎉$/)
    })

    test('curl -N of its page’s upstream, which hangs up, shows the words and then an error event', async () => {
      const path = '/playground/with?fault=finMidStream'
      using client = await rawRequest({ port: server.port, method: 'GET', path }).finished()
      expect(textOf(client.data)).toMatch(/^Every word you read here/)
      expect(failureOf(client.data).code).toBe('connection_reset')
    })

    test('the OpenAI SDK streams through it', async () => {
      const stream = await openai().chat.completions.create({
        ...hello,
        stream: true,
        stream_options: { include_usage: true },
      })
      let text = ''
      let usage: unknown
      for await (const chunk of stream) {
        text += chunk.choices[0]?.delta.content ?? ''
        usage = chunk.usage ?? usage
      }
      expect(text).toMatch(/^You asked: “Hello”/)
      expect(usage).toMatchObject({ total_tokens: expect.any(Number) })
    })

    test('so does its stream helper, and its plain call', async () => {
      const helper = openai().chat.completions.stream(hello)
      expect(await helper.finalContent()).toMatch(/^You asked: “Hello”/)
      const completion = await openai().chat.completions.create(hello)
      expect(completion.choices[0]?.message.content).toMatch(/^You asked: “Hello”/)
      expect(completion.choices[0]?.finish_reason).toBe('stop')
    })

    test.each(['//', '/?%', 'http://[/'])('a request for %s ends nothing', async (path) => {
      using client = await rawRequest({ port: server.port, method: 'GET', path }).finished()
      expect(client.status).toBeGreaterThanOrEqual(200)
      expect((await fetch(`${server.url}/health`)).status).toBe(200)
    })

    test('GET /health, GET /v1/models', async () => {
      expect(await (await fetch(`${server.url}/health`)).json()).toEqual({ status: 'ok' })
      const models = await openai().models.list()
      expect(models.data.map(({ id }) => id)).toContain('gpt-4o')
    })

    test('anything else is a JSON 404', async () => {
      const response = await fetch(`${server.url}/v1/nothing`)
      expect(response.status).toBe(404)
      expect(await response.json()).toMatchObject({ error: { code: 'not_found' } })
    })

    test.each([
      ['{"model":', 'Unexpected end of JSON input'],
      [JSON.stringify({ ...hello, tools: [{}] }), 'cannot call tools'],
      ['', 'model must be a name, got undefined'],
      ['[]', 'must be a JSON object'],
    ])('the body %j is a JSON 400', async (body, message) => {
      const headers = { 'content-type': 'application/json' }
      const response = await fetch(`${server.url}/v1/chat/completions`, { method: 'POST', headers, body })
      expect(response.status).toBe(400)
      expect(await response.json()).toMatchObject({
        error: { message: expect.stringContaining(message), type: 'invalid_request_error', param: null },
      })
    })

    test('parameters that Qolaba does not have are named', async () => {
      const headers = { 'content-type': 'application/json' }
      const body = JSON.stringify({ ...hello, top_p: 0.5 })
      const response = await fetch(`${server.url}/v1/chat/completions`, { method: 'POST', headers, body })
      expect(response.headers.get('x-ignored-parameters')).toBe('top_p')
      await response.arrayBuffer()
    })

    test('a page on another origin may ask', async () => {
      const preflight = await fetch(`${server.url}/v1/chat/completions`, {
        method: 'OPTIONS',
        headers: {
          origin: 'https://chat.example',
          'access-control-request-method': 'POST',
          'access-control-request-headers': 'authorization',
        },
      })
      expect(preflight.status).toBe(204)
      expect(preflight.headers.get('access-control-allow-origin')).toBe('*')
      expect(preflight.headers.get('access-control-allow-headers')).toBe('authorization')
      using client = await rawRequest({ port: server.port, body: { ...hello, stream: true } }).received(
        'data: ',
      )
      expect(client.header('access-control-allow-origin')).toBe('*')
    })
  })

  describe('with QOLABA_API=openai', () => {
    const openai = { QOLABA_API: 'openai' }

    test('the stand-in’s chunks pass, streaming and not', async () => {
      await using server = await startExample(file, openai)
      const client = new OpenAI({ apiKey: 'any', baseURL: `${server.url}/v1`, maxRetries: 0 })
      let text = ''
      for await (const chunk of await client.chat.completions.create({ ...hello, stream: true })) {
        text += chunk.choices[0]?.delta.content ?? ''
        expect(chunk.id).toBe('chatcmpl-stand-in')
      }
      expect(text).toMatch(/^You asked: “Hello”/)
      const completion = await client.chat.completions.create(hello)
      expect(completion.choices[0]?.message.content).toBe(text)
    })

    test('the client’s request goes to the upstream, and its response to the client', async () => {
      const tools = [{ type: 'function', function: { name: 'f' } }]
      await using upstream = await startUpstream((exchange) =>
        exchange
          .open()
          .data(...chatAnswer('Hel', 'lo'))
          .end(),
      )
      await using server = await startExample(file, { ...openai, QOLABA_BASE_URL: `${upstream.url}/api/v1` })
      const body = { ...hello, tools, stream: true }
      using client = await rawRequest({ port: server.port, body, headers: key }).finished()
      expect(client.data).toEqual(
        chatAnswer('Hel', 'lo').map((event) => (typeof event === 'string' ? event : JSON.stringify(event))),
      )
      expect(upstream.exchanges[0]?.head).toMatch(/^POST \/api\/v1\/chat\/completions /)
      expect(upstream.exchanges[0]?.head).toContain('Bearer sk-client')
      expect(JSON.parse(upstream.exchanges[0]?.body ?? '')).toEqual(body)
      // An upstream that only streams is read to its end for those who want no stream.
      using plain = await rawRequest({ port: server.port, body: hello, headers: key }).finished()
      expect(JSON.parse(plain.bodyText).choices[0].message.content).toBe('Hello')
    })

    test.each([
      [{ ...hello, stream: 'true' }, 'stream must be true or false, got "true"'],
      [[], 'The body must be a JSON object'],
      [{ messages: [] }, 'model must be a name'],
    ])('the body %j is a JSON 400', async (body, message) => {
      await using server = await startExample(file, openai)
      using client = await rawRequest({ port: server.port, body }).finished()
      expect(client.status).toBe(400)
      expect(client.json.error.message).toContain(message)
    })

    test('another API is refused at the start', async () => {
      const { code, errors } = await failExample(file, { QOLABA_API: 'grpc' })
      expect(code).toBe(1)
      expect(errors).toContain('QOLABA_API must be studio or openai, got "grpc"')
    })
  })

  describe('on a Qolaba of its own', () => {
    /** One request to an example whose Qolaba follows the script. */
    async function ask(script: Script, body: object = { ...hello, stream: true }, environment = {}) {
      await using upstream = await startUpstream(script)
      await using server = await startExample(file, {
        QOLABA_BASE_URL: `${upstream.url}/api`,
        ...environment,
      })
      using client = await rawRequest({ port: server.port, body, headers: key }).finished()
      return { client, request: upstream.exchanges[0] }
    }
    const qolabaAnswer: Script = (exchange) =>
      exchange
        .open()
        .data({ output: 'Hel' }, { output: 'lo' }, { output: null, promptTokens: 1, completionTokens: 2 })
        .end()

    test('the client’s key goes to /streamChat, with a request as Qolaba takes it', async () => {
      const { client, request } = await ask(qolabaAnswer)
      expect(textOf(client.data)).toBe('Hello')
      expect(client.data.at(-1)).toBe('[DONE]')
      expect(request?.head).toMatch(/^POST \/api\/streamChat /)
      expect(request?.head).toMatch(/^authorization: Bearer sk-client$/im)
      expect(request?.head).toMatch(/^accept: text\/event-stream$/im)
      expect(JSON.parse(request?.body ?? '')).toMatchObject({
        llm: 'OpenAI',
        stream: true,
        last_user_query: 'Hello',
      })
    })

    test('the server’s own key, if it has one', async () => {
      const { request } = await ask(qolabaAnswer, undefined, { QOLABA_API_KEY: 'sk-server' })
      expect(request?.head).toMatch(/^authorization: Bearer sk-server$/im)
    })

    test('stream: false goes to /chat', async () => {
      const answer = JSON.stringify({ output: 'Hello', promptTokens: 1, completionTokens: 2 })
      const { client, request } = await ask((exchange) => exchange.answer('200 OK', answer), hello)
      expect(request?.head).toMatch(/^POST \/api\/chat /)
      expect(client.header('content-type')).toMatch(/^application\/json/)
      expect(JSON.parse(client.bodyText)).toMatchObject({ choices: [{ message: { content: 'Hello' } }] })
    })

    test.each<[string, Script, object, number, string]>([
      [
        '401',
        (exchange) => exchange.answer('401 No', '{"error":"key of org-7"}'),
        { stream: true },
        401,
        'upstream_error',
      ],
      [
        '429',
        (exchange) => exchange.answer('429 No', '{}', 'Retry-After: 3'),
        { stream: true },
        429,
        'rate_limit_exceeded',
      ],
      [
        'a page',
        (exchange) => exchange.answer('200 OK', '<html>', 'Content-Type: text/html'),
        { stream: true },
        502,
        'upstream_protocol_error',
      ],
      [
        'a JSON error',
        (exchange) => exchange.answer('200 OK', '{"error":"x"}'),
        { stream: true },
        502,
        'upstream_error',
      ],
      [
        'an error event',
        (exchange) => exchange.open().data({ error: 'x' }).end(),
        { stream: true },
        502,
        'upstream_error',
      ],
      ['a hang-up', (exchange) => exchange.fin(), { stream: true }, 503, 'connection_reset'],
      ['500, not streaming', (exchange) => exchange.answer('500 No', '{}'), {}, 500, 'upstream_error'],
      [
        'a page, not streaming',
        (exchange) => exchange.answer('200 OK', '<html>', 'Content-Type: text/html'),
        {},
        502,
        'upstream_protocol_error',
      ],
      [
        'an error, not streaming',
        (exchange) => exchange.answer('200 OK', '{"error":"x"}'),
        {},
        502,
        'upstream_error',
      ],
      [
        'a hang-up, not streaming',
        (exchange) => exchange.open('Content-Type: application/json').chunk('{"out').fin(),
        {},
        503,
        'connection_reset',
      ],
    ])('%s of Qolaba has a status and the OpenAI shape', async (_name, script, more, status, code) => {
      const { client } = await ask(script, { ...hello, ...more })
      expect(client.status).toBe(status)
      expect(client.json.error).toMatchObject({ code, message: expect.any(String), param: null })
      expect(client.text).not.toContain('org-7')
    })

    test('a break mid-stream is reported, after every token that came', async () => {
      const { client } = await ask((exchange) =>
        exchange.open().data({ output: 'Hel' }, { output: 'lo' }).fin(),
      )
      expect(client.body.complete).toBe(true)
      expect(textOf(client.data)).toBe('Hello')
      expect(failureOf(client.data).code).toBe('connection_reset')
    })

    test.each<[string, Script, object, string]>([
      [
        'TIMEOUT_FIRST_BYTE_MS',
        () => {},
        { TIMEOUT_FIRST_BYTE_MS: '100', TIMEOUT_CONNECT_MS: '100' },
        'upstream_first_byte_timeout',
      ],
      [
        'TIMEOUT_INACTIVITY_MS',
        (exchange) => exchange.open().data({ output: 'x' }),
        { TIMEOUT_INACTIVITY_MS: '100' },
        'upstream_inactivity_timeout',
      ],
      [
        'TIMEOUT_TOTAL_MS',
        (exchange) => exchange.open().data({ output: 'x' }),
        { TIMEOUT_TOTAL_MS: '300', TIMEOUT_INACTIVITY_MS: 'Infinity' },
        'request_timeout_total',
      ],
    ])('%s is kept', async (_name, script, environment, code) => {
      const { client } = await ask(script, undefined, environment)
      expect(client.text).toContain(code)
    })

    test('HEADERS_AFTER_MS and HEARTBEAT_MS are kept', async () => {
      const environment = { HEADERS_AFTER_MS: '50', HEARTBEAT_MS: '50', TIMEOUT_FIRST_BYTE_MS: '500' }
      const { client } = await ask(() => {}, undefined, environment)
      expect(client.status).toBe(200)
      expect(client.bodyText).toMatch(/^:\n\n:\n\n/)
      expect(failureOf(client.data).code).toBe('upstream_first_byte_timeout')
    })

    test.each<Record<string, string>>([{}, { Authorization: 'Bearer' }, { Authorization: 'Bearer ' }])(
      'without a key: 401, as JSON: %j',
      async (headers) => {
        await using server = await startExample(file, { QOLABA_BASE_URL: 'http://127.0.0.1:9' })
        for (const path of ['/v1/chat/completions', '/v1/models']) {
          const method = path === '/v1/models' ? 'GET' : 'POST'
          using client = await rawRequest({ port: server.port, path, method, headers }).finished()
          expect(client.status).toBe(401)
          expect(client.json.error).toMatchObject({ type: 'authentication_error', code: 'invalid_api_key' })
        }
      },
    )
  })

  describe('SIGTERM', () => {
    async function withStream(
      script: Script,
      use: (server: ExampleServer, client: RawClient, upstream: ScriptedUpstream) => Promise<void>,
    ) {
      await using upstream = await startUpstream(script)
      await using server = await startExample(file, {
        QOLABA_BASE_URL: upstream.url,
        SHUTDOWN_GRACE_MS: '1000',
      })
      using client = await rawRequest({
        port: server.port,
        body: { ...hello, stream: true },
        headers: key,
      }).received('Hel')
      const exit = once(server.process, 'exit')
      server.process.kill('SIGTERM')
      await use(server, client, upstream)
      expect(await exit).toEqual([0, null])
    }

    test('a live stream finishes, then the process exits with 0', async () => {
      await withStream(
        (exchange) => exchange.open().data({ output: 'Hel' }),
        async (_server, client, upstream) => {
          // It has stopped listening before the upstream goes on.
          while (
            await fetch(`http://127.0.0.1:${_server.port}/health`).then(
              () => true,
              () => false,
            )
          );
          ;(await upstream.exchange(0)).data({ output: 'lo' }, { output: null }).end()
          await client.closed()
          expect(textOf(client.data)).toBe('Hello')
          expect(client.data.at(-1)).toBe('[DONE]')
          expect(client.ending).toBe('fin')
        },
      )
    })

    test('one that does not gets the error', async () => {
      await withStream(
        (exchange) => exchange.open().data({ output: 'Hel' }),
        async (_server, client) => {
          await client.closed()
          expect(failureOf(client.data).code).toBe('server_shutting_down')
          expect(client.body.complete).toBe(true)
          expect(client.ending).toBe('fin')
        },
      )
    })
  })

  describe('a setting that cannot be is one line, and exit 1', () => {
    test.each([
      [{ PORT: 'abc' }, 'PORT must be a whole number from 0 to 65535, got "abc"'],
      [{ PORT: '70000' }, 'PORT must be'],
      [{ QOLABA_BASE_URL: 'ftp://x' }, 'QOLABA_BASE_URL must be an http or https URL, got "ftp://x"'],
      [
        { TIMEOUT_TOTAL_MS: '0' },
        'TIMEOUT_TOTAL_MS must be a whole number of milliseconds above 0, or Infinity; got "0"',
      ],
      [{ HEARTBEAT_MS: '-5' }, 'HEARTBEAT_MS must be'],
      [{ HEADERS_AFTER_MS: '1.5' }, 'HEADERS_AFTER_MS must be'],
      [{ QOLABA_API_KEY: 'a\nb' }, 'QOLABA_API_KEY has a character that an HTTP header must not have'],
      [{ TIMEOUT_INACTIVTY_MS: '5' }, 'TIMEOUT_INACTIVTY_MS is not a setting'],
      [
        { TIMEOUT_CONNECT_MS: '900', TIMEOUT_FIRST_BYTE_MS: '800' },
        'timeouts.connectMs (900) must not be longer than timeouts.firstByteMs (800)',
      ],
    ])('%j', async (environment: Record<string, string>, message) => {
      const { code, errors } = await failExample(file, environment)
      expect(code).toBe(1)
      expect(errors.trim().split('\n')).toEqual([expect.stringContaining(message)])
    })
  })
})
