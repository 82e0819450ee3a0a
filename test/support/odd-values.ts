const revoked = Proxy.revocable({}, {})
revoked.revoke()

/** Values that may be thrown, and values in place of a response: anything. */
export const oddValues: readonly [string, unknown][] = [
  ['an object without a prototype', Object.create(null)],
  ['an error whose getters throw', throwing(new Error('bug'))],
  ['a revoked proxy', revoked.proxy],
  ['undefined', undefined],
  ['null', null],
  ['a symbol', Symbol('bug')],
  // biome-ignore lint/suspicious/noThenProperty: anything may be thrown
  ['a thenable', { then: () => {} }],
  ['an error that caused itself', circular()],
  ['an error with a revoked cause', new Error('bug', { cause: revoked.proxy })],
  ['an error with a revoked response', Object.assign(new Error('bug'), { response: revoked.proxy })],
  ['one with errors that are none', Object.assign(new Error('bug'), { errors: revoked.proxy })],
]

function throwing(error: Error): Error {
  for (const name of ['stack', 'name', 'code', 'message', 'cause', 'errors', 'status', 'response']) {
    Object.defineProperty(error, name, {
      get() {
        throw new Error(`no ${name}`)
      },
    })
  }
  return error
}

function circular(): Error {
  const error = new Error('bug')
  error.cause = error
  return error
}
