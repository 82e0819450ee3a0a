import type { AppCommand } from './app.js'

/** An app of a framework, and how it may be guarded. */
export interface FrameworkApp {
  readonly name: string
  readonly command: AppCommand
  /** How its handlers write a stream: the first part of the path. */
  readonly ways: Record<string, string>
  /** Those of them in which no line of the app runs while the stream does. */
  readonly withoutCode?: readonly string[]
  /** Those that guard themselves if it has `GUARD`, by the names of `guards`. Not set: all of `ways` do. */
  readonly guardedWays?: Record<string, Record<string, string>>
  /** Whether the guard sees the upstream calls of the handlers. */
  readonly adopts?: false
  /** How it guards itself if it has `GUARD`; for those that can do it in several ways, what `GUARD_BY` says. */
  readonly guards: Record<string, string>
  /** Whether Node runs it, and takes a flag. */
  readonly takesFlag: boolean
}

const node = { takesFlag: true }
const wrapApp = { wrapApp: '' }

export const apps: readonly FrameworkApp[] = [
  {
    ...node,
    name: 'node:http',
    command: { args: ['node-http.js'] },
    ways: { 'response.write()': '/written', '.pipe(response)': '/piped' },
    guards: wrapApp,
  },
  {
    ...node,
    name: 'Fastify 5',
    command: { args: ['fastify.js'] },
    ways: {
      'reply.from()': '/from',
      'a Response': '/response',
      'reply.send(stream)': '/stream',
      'an async generator': '/generator',
      'reply.hijack()': '/hijack',
      'reply.raw': '/raw',
    },
    withoutCode: ['reply.from()', 'a Response', 'reply.send(stream)'],
    guards: { plugin: 'plugin', wrapApp: 'wrapApp', serverFactory: 'serverFactory' },
  },
  {
    ...node,
    name: 'Hono 4',
    command: { args: ['hono.js'] },
    ways: { 'proxy()': '/proxy', 'a Response': '/response', 'stream()': '/stream', 'streamSSE()': '/sse' },
    withoutCode: ['proxy()', 'a Response'],
    guards: { createServer: '' },
  },
  {
    ...node,
    name: 'h3 2',
    command: { args: ['h3.js'] },
    ways: {
      'proxy()': '/proxy',
      'a Response': '/response',
      'iterable()': '/iterable',
      'createEventStream()': '/sse',
    },
    withoutCode: ['proxy()', 'a Response'],
    guards: wrapApp,
  },
  ...(['express', 'fastify'] as const).map((platform) => ({
    ...node,
    name: `NestJS 11 on ${platform === 'express' ? 'Express' : 'Fastify'}`,
    command: { args: ['out/nest.js'], environment: { PLATFORM: platform } },
    ways: { '@Res()': '/written', '@Sse()': '/sse' },
    guards: { [platform === 'express' ? 'guardStreams' : 'plugin']: '' },
  })),
  {
    ...node,
    name: 'Next.js 16, next start',
    command: { args: ['node_modules/next/dist/bin/next', 'start', 'next', '-p', '0', '-H', '127.0.0.1'] },
    ways: { 'a Response': '/response', 'a ReadableStream': '/streamed', 'pages/api': '/api/written' },
    withoutCode: ['a Response'],
    guardedWays: {
      guardResponse: { 'a Response': '/guarded/response', 'a ReadableStream': '/guarded/streamed' },
      wrapApp: { 'a Response': '/wrapped/response', 'a ReadableStream': '/wrapped/streamed' },
    },
    guards: { guardResponse: '', wrapApp: '' },
  },
  {
    ...node,
    name: 'Next.js 16, custom server',
    command: { args: ['next-server.js'] },
    ways: { 'a Response': '/response', 'a ReadableStream': '/streamed', 'pages/api': '/api/written' },
    withoutCode: ['a Response'],
    guards: wrapApp,
  },
  {
    takesFlag: false,
    adopts: false,
    name: 'node:http in Bun',
    command: { program: 'node_modules/.bin/bun', args: ['node-http.js'] },
    ways: { 'response.write()': '/written', '.pipe(response)': '/piped' },
    guards: wrapApp,
  },
  {
    takesFlag: false,
    adopts: false,
    name: 'node:http in Deno',
    command: { program: 'node_modules/.bin/deno', args: ['run', '-A', 'node-http.js'] },
    ways: { 'response.write()': '/written', '.pipe(response)': '/piped' },
    guards: wrapApp,
  },
]
