// A plain guard that does what it cannot do without, and nothing else: it sees the head coming, has a deadline until then,
// can be found by the response, and is told when that is over.
const guards = new WeakMap()

export const plainGuard = (app) => (request, response) => {
  guards.set(response, new PlainGuard(response))
  app(request, response)
}

class PlainGuard {
  #timer = setTimeout(() => {}, 120_000)

  constructor(response) {
    for (const name of ['writeHead', 'write', 'end', 'destroy']) this.#intercept(response, name)
    const { setHeader } = response
    response.setHeader = (name, value) => setHeader.call(response, name, value)
    response.on('close', () => this.#decide())
  }

  #intercept(response, name) {
    const method = response[name]
    response[name] = (...args) => {
      this.#decide()
      return method.apply(response, args)
    }
  }

  #decide() {
    clearTimeout(this.#timer)
  }
}
