import { expect, test } from 'vitest'
import { createStreamMiddleware, guardStreams } from '../../src/adapters/express.js'
import { handleStream, type StreamOptions, wrapApp } from '../../src/index.js'
import { createResume, type ResumeOptions } from '../../src/resume/index.js'

const owner = false
const hint = 'write a function of the request, or false if every client that knows an id may read the stream'

test.each<[Record<string, unknown>, string]>([
  [{}, `owner must be a function or false, got undefined; ${hint}`],
  [{ owner: true }, `owner must be a function or false, got true; ${hint}`],
  [{ owner: 'ada' }, `owner must be a function or false, got "ada"; ${hint}`],
  [{ owner, store: {} }, 'store must be the result of memoryStore() or redisStore(client), got {}'],
  [{ owner, store: null }, 'store must be the result of memoryStore() or redisStore(client), got null'],
  [{ owner, streamId: 'x' }, 'streamId must be a function, got "x"'],
  [{ owner, detachMs: -1 }, 'detachMs must be a number of milliseconds, 0 or Infinity; got -1'],
  [{ owner, detachMs: false }, 'detachMs must be a number of milliseconds, 0 or Infinity; got false'],
  [{ owner, detachMs: Number.NaN }, 'detachMs must be a number of milliseconds, 0 or Infinity; got NaN'],
  [{ owner, ttlMs: 0 }, 'ttlMs must be a number of milliseconds above 0; got 0'],
  [
    { owner, ttlMs: Number.POSITIVE_INFINITY },
    'ttlMs must be a number of milliseconds above 0; got Infinity',
  ],
  [{ owner, maxBytes: 0 }, 'maxBytes must be a whole number above 0, or Infinity; got 0'],
  [{ owner, maxEvents: 1.5 }, 'maxEvents must be a whole number above 0, or Infinity; got 1.5'],
  [{ owner, detach: 1 }, 'options.detach is not an option; did you mean detachMs?'],
  [{ owner, ttl: 1 }, 'options.ttl is not an option; did you mean ttlMs?'],
])('createResume(%j) is refused', (options, message) => {
  expect(() => createResume(options as unknown as ResumeOptions)).toThrow(new TypeError(message))
})

test('undefined means not set', () => {
  const unset = { store: undefined, streamId: undefined, detachMs: undefined, ttlMs: undefined }
  expect(() => createResume({ owner, ...unset, maxBytes: undefined, maxEvents: undefined })).not.toThrow()
})

test.each<[Record<string, unknown>, string]>([
  [{ streamId: 'x' }, 'streamId must be a function, got "x"'],
  [{ dialect: 'openai' }, 'dialect must be one of'],
  [{ writer: { heartbeatMs: 0 } }, 'writer.heartbeatMs must be a number of milliseconds above 0'],
  [{ after: 1 }, 'options.after is not an option; there are streamId, dialect, writer, onEnd'],
])('rejoin(%j) is refused', (options, message) => {
  expect(() => createResume({ owner }).rejoin(options as object)).toThrow(message)
})

test('stop() refuses an option that it does not know', () => {
  const { stop } = { stop: (options: object) => createResume({ owner }).stop(options) }
  expect(() => stop({ id: 'x' })).toThrow('options.id is not an option; there are streamId')
  expect(() => stop({ streamId: 1 })).toThrow('streamId must be a function, got 1')
})

const mounts: Record<string, (options: StreamOptions) => unknown> = {
  createStreamMiddleware: (options) => createStreamMiddleware(() => {}, options),
  guardStreams: (options) => guardStreams(options),
  wrapApp: (options) => wrapApp(() => {}, options),
}

test.each(Object.entries(mounts))(
  '%s refuses anything but a resume, and heartbeats that are events',
  (_, mount) => {
    expect(() => mount({ resume: { store: 'memory' } as never })).toThrow(
      new TypeError('resume must be the result of createResume(options), got {"store":"memory"}'),
    )
    expect(() => mount({ resume: createResume({ owner }), writer: { heartbeat: 'empty-delta' } })).toThrow(
      "writer.heartbeat 'empty-delta' does not go with resume",
    )
    expect(() => mount({ resume: undefined })).not.toThrow()
  },
)

test('handleStream rejects anything but a resume', async () => {
  const response = { writeHead() {}, setHeader() {}, on() {} } as never
  await expect(handleStream(response, () => {}, { resume: true as never })).rejects.toThrow(
    new TypeError('resume must be the result of createResume(options), got true'),
  )
})
