/** What other libraries call it: a handler that writes so must hear of it, or its client waits for an end for ever. */
export abstract class OtherWriters {
  end(): never {
    throw new TypeError('there is no writer.end(): write writer.close()')
  }

  send(): never {
    throw new TypeError('there is no writer.send(): write writer.write({ data })')
  }
}
