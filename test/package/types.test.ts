import { execFile } from 'node:child_process'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { promisify } from 'node:util'
import type { Handler, Request } from 'express'
import type { Context, Middleware } from 'koa'
import { describe, expect, expectTypeOf, test } from 'vitest'
import type * as forExpress from '../../src/adapters/express.js'
import type * as forKoa from '../../src/adapters/koa.js'
import type * as unhang from '../../src/index.js'

const run = promisify(execFile)

/** Never called: only `tsc` looks at this code. */
function _types(
  library: typeof unhang,
  express: typeof forExpress,
  koa: typeof forKoa,
  response: ServerResponse,
  error: unknown,
): void {
  expectTypeOf(library.handleStream).parameter(1).parameter(0).toEqualTypeOf<unhang.StreamContext>()
  expectTypeOf(library.handleStream).returns.resolves.toEqualTypeOf<unhang.StreamEnd>()
  expectTypeOf<unhang.StreamContext['signal']>().toEqualTypeOf<AbortSignal>()
  expectTypeOf<unhang.StreamContext['relay']>().returns.resolves.toEqualTypeOf<unhang.RelayResult>()
  expectTypeOf<unhang.StreamContext['read']>().returns.toExtend<AsyncIterable<{ data: string }>>()
  expectTypeOf<ReturnType<unhang.EventMap>>().toEqualTypeOf<
    unhang.SSEEvent | readonly (unhang.SSEEvent | null | undefined)[] | null | undefined
  >()

  expectTypeOf(library.createSSEWriter(response)).toEqualTypeOf<unhang.SSEWriter>()
  expectTypeOf<unhang.SSEWriter['write']>().returns.toEqualTypeOf<Promise<void>>()
  expectTypeOf(library.TimeoutCoordinator).toBeConstructibleWith({ inactivityMs: 1, totalMs: false })
  const timeouts = new library.TimeoutCoordinator({ totalMs: 1 }, { defaults: 'standard' })
  expectTypeOf(timeouts).toEqualTypeOf<unhang.TimeoutCoordinator>()
  expectTypeOf<keyof unhang.TimeoutCoordinatorOptions>().toEqualTypeOf<
    'defaults' | 'signal' | 'beforeTimeout'
  >()
  // @ts-expect-error a part of unhang's own
  timeouts.stopSignal.abort()
  expectTypeOf(library.coordinatedSocketCleanup).returns.resolves.toEqualTypeOf<unhang.SocketCleanupReport>()
  expectTypeOf(library.detectStreamingRequest).returns.toEqualTypeOf<boolean>()
  expectTypeOf(library.readAnswer).returns.resolves.toBeUnknown()
  expectTypeOf(library.getStream).returns.toEqualTypeOf<unhang.GuardedStream | undefined>()
  if (library.isStreamError(error)) expectTypeOf(error).toEqualTypeOf<unhang.StreamFailure>()

  const middleware = express.createStreamMiddleware((stream, request) => {
    expectTypeOf(stream).toEqualTypeOf<unhang.StreamContext>()
    expectTypeOf(request).toExtend<Request>()
  })
  expectTypeOf(middleware).toExtend<Handler>()
  expectTypeOf(express.guardStreams()).toExtend<Handler>()
  const koaMiddleware = koa.createStreamMiddleware((stream, context) => {
    expectTypeOf(stream).toEqualTypeOf<unhang.StreamContext>()
    expectTypeOf(context).toExtend<Context>()
  })
  expectTypeOf(koaMiddleware).toExtend<Middleware>()
  expectTypeOf(koa.guardStreams()).toExtend<Middleware>()
  library.wrapApp((request, answer) => {
    expectTypeOf(request).toEqualTypeOf<IncomingMessage>()
    expectTypeOf(answer).toEqualTypeOf<ServerResponse>()
  })

  // @ts-expect-error a duration is a number, or false
  library.handleStream(response, () => {}, { timeouts: { totalMs: '1s' } })
  // @ts-expect-error where an option stands tells who reads it
  library.handleStream(response, () => {}, { heartbeatMs: 1 })
  // @ts-expect-error no such dialect
  library.handleStream(response, () => {}, { dialect: 'openai' })
  // @ts-expect-error a map is not async: loop over read() instead
  library.handleStream(response, ({ relay }) => relay(fetch('http://127.0.0.1'), async () => null))
}

describe('types', () => {
  test('are what they are said to be', async () => {
    const { stdout } = await run('npx', ['tsc', '--noEmit', '-p', '.']).catch((failure) => failure)
    expect(stdout).toBe('')
  }, 120_000)

  // .ci/types.mjs does so with every TypeScript, module resolution and framework that is supported.
  test('of the package fit the lines that every app has, also under the strictest of options', async () => {
    const options = '--strict --exactOptionalPropertyTypes --noUncheckedIndexedAccess'
    const flags = `--noEmit --module nodenext --target es2022 --types node ${options}`
    const args = ['tsc', ...flags.split(' '), 'test/programs/types.ts']
    const { stdout } = await run('npx', args).catch((failure) => failure)
    expect(
      stdout
        .split('\n')
        .filter((line: string) => !line.startsWith('node_modules/'))
        .join('\n'),
    ).toBe('')
  }, 120_000)
})
