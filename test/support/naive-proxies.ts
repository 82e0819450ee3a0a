import http from 'node:http'
import { pipeline, Readable } from 'node:stream'
import { pipeline as pipelineAsync } from 'node:stream/promises'
import axios from 'axios'
import express from 'express'
import expressHttpProxy from 'express-http-proxy'
import got from 'got'
import got11 from 'got11'
import httpProxy from 'http-proxy'
import { createProxyMiddleware } from 'http-proxy-middleware'
import ky from 'ky'
import nodeFetch from 'node-fetch'
// @ts-expect-error: it has no types of its own
import nodeFetch2 from 'node-fetch2'
import OpenAI from 'openai'
import OpenAI4 from 'openai4'
// @ts-expect-error: it has no types of its own
import superagent from 'superagent'
import * as undici from 'undici'
import * as undici6 from 'undici6'
import type { Handler } from './guarded.js'
import { eventStream, wire } from './wire.js'

/** A proxy as people write it: no signal, and no listener that its client's documentation does not show. */
export interface NaiveProxy {
  /** A handler that asks the upstream at a URL, and forwards each chunk. */
  to(url: string): Handler
  /** Whether the upstream is let go with its client in any case, since it is piped straight into the response. */
  readonly isPiped?: true
  /** Whether it throws by itself when its upstream ends too early, where no code can catch it: that ends the process. */
  readonly throws?: true
}

const body = '{"stream":true}'
const post = { method: 'POST', body, headers: { 'content-type': 'application/json' } } as const
const asStream = { responseType: 'stream', timeout: 0 } as const

function byFetch(call: (url: string) => Promise<{ body: unknown }>): NaiveProxy {
  return {
    to: (url) => async (_request, response) => {
      const upstream = await call(url)
      response.writeHead(200, eventStream)
      for await (const chunk of upstream.body as AsyncIterable<Uint8Array>) response.write(chunk)
      response.end()
    },
  }
}

function byPipe(call: (url: string) => Promise<Readable>): NaiveProxy {
  return {
    isPiped: true,
    to: (url) => async (_request, response) => {
      const upstream = await call(url)
      upstream.pipe(response.writeHead(200, eventStream))
    },
  }
}

function byListeners(call: (url: string, answer: (upstream: Readable) => void) => unknown): NaiveProxy {
  return {
    to: (url) => (_request, response) =>
      void call(url, (upstream) => {
        response.writeHead(200, eventStream)
        upstream.on('data', (chunk) => response.write(chunk)).on('end', () => response.end())
      }),
  }
}

function byHttp(url: string, answer: (upstream: Readable) => void): void {
  http.request(url, { method: 'POST', headers: post.headers }, answer).end(body)
}

function byOpenAI(create: (url: string) => unknown): NaiveProxy {
  return {
    to: (url) => async (_request, response) => {
      const messages = [{ role: 'user' as const, content: 'Hi' }]
      const stream = await (create(url) as OpenAI).chat.completions.create({
        model: 'test-model',
        messages,
        stream: true,
      })
      response.writeHead(200, eventStream)
      for await (const chunk of stream) response.write(wire(chunk))
      response.end(wire('[DONE]'))
    },
  }
}

const openai = (url: string) => ({ baseURL: `${url}/v1`, apiKey: 'test', maxRetries: 0 })

function undiciProxies(version: string, { request, fetch, Agent }: typeof undici) {
  const dispatcher = new Agent({ headersTimeout: 0, bodyTimeout: 0 })
  const options = { ...post, dispatcher }
  return {
    [`${version} request, for await`]: byFetch((url) => request(url, options)),
    [`${version} request, piped`]: byPipe(async (url) => (await request(url, options)).body),
    [`${version} fetch`]: byFetch((url) => fetch(url, options)),
    [`${version} dispatch`]: {
      to: (url) => (_request, response) =>
        new Promise<void>((resolve, reject) => {
          dispatcher.dispatch(
            { origin: url, path: '/', method: 'POST', body, headers: post.headers },
            {
              onConnect: () => {},
              onHeaders: () => {
                response.writeHead(200, eventStream)
                return true
              },
              onData: (chunk) => {
                response.write(chunk)
                return true
              },
              onComplete: () => {
                response.end()
                resolve()
              },
              onError: reject,
            },
          )
        }),
    },
  } satisfies Record<string, NaiveProxy>
}

/** Proxies by the client that they call their upstream with. */
export const naiveProxies: Record<string, NaiveProxy> = {
  'fetch, for await': byFetch((url) => fetch(url, post)),
  'fetch, a reader': {
    to: (url) => async (_request, response) => {
      const reader = (await fetch(url, post)).body?.getReader()
      response.writeHead(200, eventStream)
      for (;;) {
        const { done, value } = (await reader?.read()) ?? { done: true }
        if (done) break
        response.write(value)
      }
      response.end()
    },
  },
  'fetch, piped': byPipe(async (url) => Readable.fromWeb((await fetch(url, post)).body as never)),
  'fetch, pipeline': {
    isPiped: true,
    to: (url) => async (_request, response) => {
      const upstream = await fetch(url, post)
      await pipelineAsync(Readable.fromWeb(upstream.body as never), response.writeHead(200, eventStream))
    },
  },
  ...undiciProxies('undici 7', undici),
  // That of undici 6 throws by itself for a response that is not destroyed when its upstream breaks.
  'undici 7 stream': {
    isPiped: true,
    to: (url) => (_request, response) => undici.stream(url, post, () => response.writeHead(200, eventStream)),
  },
  ...undiciProxies('undici 6', undici6 as never),
  "axios, 'data'": byListeners(async (url, answer) => answer((await axios.post(url, body, asStream)).data)),
  'axios, piped': byPipe(async (url) => (await axios.post(url, body, asStream)).data),
  'axios, for await': byFetch(async (url) => ({ body: (await axios.post(url, body, asStream)).data })),
  'axios, fetch adapter': byFetch(async (url) => ({
    body: (await axios.post(url, body, { ...asStream, adapter: 'fetch' })).data,
  })),
  "http.request, 'data'": byListeners(byHttp),
  'http.request, its own error listeners': {
    to: (url) => (_request, response) => {
      const fail = (error: Error) => void response.destroy(error)
      http
        .request(url, { method: 'POST', headers: post.headers }, (upstream) => {
          response.writeHead(200, eventStream)
          upstream.on('data', (chunk) => response.write(chunk)).on('end', () => response.end())
          upstream.on('error', fail)
        })
        .on('error', fail)
        .end(body)
    },
  },
  'http.request, piped': byPipe((url) => new Promise((resolve) => byHttp(url, resolve))),
  'http.request, pipeline': {
    isPiped: true,
    to: (url) => (_request, response) =>
      byHttp(url, (upstream) => pipeline(upstream, response.writeHead(200, eventStream), () => {})),
  },
  'node-fetch 2, piped': byPipe(async (url) => (await nodeFetch2(url, post)).body),
  'node-fetch 2, for await': byFetch((url) => nodeFetch2(url, post)),
  'node-fetch 3, piped': byPipe(async (url) => (await nodeFetch(url, post)).body as Readable),
  'node-fetch 3, for await': byFetch((url) => nodeFetch(url, post)),
  'got 11, piped': {
    isPiped: true,
    to: (url) => (_request, response) => {
      ;(got11 as unknown as typeof got).stream.post(url, { body }).pipe(response.writeHead(200, eventStream))
    },
  },
  'got 14, piped': {
    to: (url) => (_request, response) => {
      got.stream.post(url, { body, retry: { limit: 0 } }).pipe(response.writeHead(200, eventStream))
    },
  },
  superagent: {
    throws: true,
    to: (url) => (_request, response) => {
      superagent.post(url).send(body).pipe(response.writeHead(200, eventStream))
    },
  },
  ky: byFetch((url) => ky.post(url, { body, retry: 0, timeout: false })),
  'openai 6': byOpenAI((url) => new OpenAI(openai(url))),
  'openai 4': byOpenAI((url) => new OpenAI4(openai(url))),
  'http-proxy': {
    isPiped: true,
    to: (url) => {
      const proxy = httpProxy.createProxyServer({ target: url })
      // Without a listener it throws.
      proxy.on('error', () => {})
      return (request, response) => proxy.web(request, response)
    },
  },
  'http-proxy-middleware 3': {
    isPiped: true,
    to: (url) => {
      const middleware = createProxyMiddleware({ target: url })
      return (request, response) => void middleware(request as never, response as never, () => {})
    },
  },
  'express-http-proxy': {
    isPiped: true,
    to: (url) => express().use(expressHttpProxy(url)) as unknown as Handler,
  },
}
