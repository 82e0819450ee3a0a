/** Names that other writers have: a client must not wait for an end that never comes. */
export class OtherNames {
  get committed(): never {
    throw new TypeError('there is no writer.committed: write writer.headersSent')
  }

  end(): never {
    throw new TypeError('there is no writer.end(): write writer.close()')
  }

  send(): never {
    throw new TypeError('there is no writer.send(): write writer.write({ data })')
  }
}
