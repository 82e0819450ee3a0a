import type { RequestListener } from 'node:http'
import type { Express } from 'express'
import { wrapApp as wrapExpress } from '../../src/adapters/express.js'
import { wrapApp as wrapKoa } from '../../src/adapters/koa.js'
import { type AdoptOptions, type GuardOptions, wrapApp } from '../../src/index.js'
import { betterSse } from '../fixtures/better-sse.js'
import { expressAxiosData } from '../fixtures/express-axios-data.js'
import { expressFetch } from '../fixtures/express-fetch.js'
import { expressProxy } from '../fixtures/express-http-proxy.js'
import { httpProxyMiddleware } from '../fixtures/http-proxy-middleware.js'
import { httpProxyMiddleware2 } from '../fixtures/http-proxy-middleware-2.js'
import { koaBody } from '../fixtures/koa-body.js'
import { koaPassThrough } from '../fixtures/koa-pass-through.js'
import { nodePipe } from '../fixtures/node-pipe.js'

export const chatPath = '/v1/chat/completions'

/** The faults of an upstream in an exchange. */
export type Trouble =
  | 'an upstream that resets mid-stream'
  | 'an upstream that hangs up mid-stream'
  | 'an upstream that ends too early'
  | 'an upstream that never begins'
  | 'an upstream that falls silent'

/**
 * What comes of it without the guard: the connection is `cut` in the middle of the body, the client waits (`hang`), the body
 * ends as if it were whole (`truncation`), even in so many words (`false [DONE]`), or `the process ends`.
 */
export type Harm = 'cut' | 'hang' | 'truncation' | 'false [DONE]' | 'the process ends'

export interface Fixture {
  /** As it was found on the web. */
  app(upstreamUrl: string): RequestListener
  guarded(upstreamUrl: string, options?: GuardOptions): RequestListener
  harm: Record<Trouble, Harm>
  /** The fate of the call to its upstream when the client leaves, without the guard. */
  leaves: 'leak' | 'released'
  /** Whether it leaks behind the guard, too: nothing is piped, and it does not pass the signal. */
  lacksSignal?: true
  /** Whether it forwards every path, and not only chats. */
  passesAll?: true
  /** Whether it passes on upgrades, from its first request on. */
  upgrades?: true
}

/** Few handlers watch the time, or the end. */
const usual = {
  'an upstream that ends too early': 'truncation',
  'an upstream that never begins': 'hang',
  'an upstream that falls silent': 'hang',
} as const

/** `fetch` rejects, and the framework then cuts the connection. */
const ofFetch = {
  ...usual,
  'an upstream that resets mid-stream': 'cut',
  'an upstream that hangs up mid-stream': 'cut',
} as const

/** Of http-proxy, which http-proxy-middleware 2 is built on. */
const ofHttpProxy = {
  ...usual,
  'an upstream that resets mid-stream': 'the process ends',
  'an upstream that hangs up mid-stream': 'hang',
} as const

/** Nothing but the guard knows of these upstreams: no signal is passed, nothing is piped, and no listener hears of errors. */
const adopted: AdoptOptions = { onDisconnect: 'cancel', breakMs: 500 }

/** Proxies as they are written everywhere. */
export const fixtures: Record<string, Fixture> = {
  'a tutorial Express proxy with fetch': {
    ...onExpress(expressFetch),
    harm: ofFetch,
    leaves: 'leak',
    lacksSignal: true,
  },
  'http-proxy-middleware': {
    ...onExpress(httpProxyMiddleware),
    harm: {
      ...usual,
      'an upstream that resets mid-stream': 'truncation',
      'an upstream that hangs up mid-stream': 'hang',
    },
    leaves: 'released',
    passesAll: true,
    upgrades: true,
  },
  'http-proxy-middleware 2 with a JSON error': {
    ...onExpress(httpProxyMiddleware2('json')),
    harm: ofHttpProxy,
    leaves: 'leak',
    passesAll: true,
    upgrades: true,
  },
  'http-proxy-middleware 2 with a text': {
    ...onExpress(httpProxyMiddleware2('text')),
    harm: ofHttpProxy,
    leaves: 'leak',
    passesAll: true,
    upgrades: true,
  },
  'express-http-proxy': {
    ...onExpress(expressProxy),
    harm: {
      ...usual,
      'an upstream that resets mid-stream': 'hang',
      'an upstream that hangs up mid-stream': 'hang',
    },
    leaves: 'released',
    passesAll: true,
  },
  "axios with listeners for 'data' and 'end'": {
    ...onExpress(expressAxiosData, adopted),
    harm: {
      ...usual,
      'an upstream that resets mid-stream': 'hang',
      'an upstream that hangs up mid-stream': 'hang',
    },
    leaves: 'leak',
  },
  'Koa with a PassThrough that always ends well': {
    app: (url) => koaPassThrough(url).callback(),
    guarded: (url, options) => wrapKoa(koaPassThrough(url), { adopt: adopted, ...options }),
    harm: {
      ...usual,
      'an upstream that resets mid-stream': 'the process ends',
      'an upstream that hangs up mid-stream': 'false [DONE]',
    },
    leaves: 'leak',
  },
  'better-sse': { ...onExpress(betterSse), harm: ofFetch, leaves: 'leak', lacksSignal: true },
  'Koa with ctx.body = stream': {
    app: (url) => koaBody(url).callback(),
    guarded: (url, options) => wrapKoa(koaBody(url), options),
    harm: ofFetch,
    leaves: 'released',
  },
  'node:http with a pipe and no Content-Type': {
    app: nodePipe,
    guarded: (url, options) => wrapApp(nodePipe(url), options),
    harm: {
      ...usual,
      'an upstream that resets mid-stream': 'truncation',
      'an upstream that hangs up mid-stream': 'hang',
    },
    leaves: 'leak',
    passesAll: true,
  },
}

function onExpress(
  create: (url: string) => Express,
  adopt: AdoptOptions = {},
): Pick<Fixture, 'app' | 'guarded'> {
  return {
    app: (url) => create(url) as unknown as RequestListener,
    guarded: (url, options) => wrapExpress(create(url), { adopt, ...options }),
  }
}
