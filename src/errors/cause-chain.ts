/** The members of the errors that Node's clients throw, as far as we read them. */
export interface Cause {
  /** As it was thrown. */
  readonly thrown: object
  readonly code: unknown
  readonly syscall: unknown
  readonly name: unknown
  readonly message: unknown
  readonly stack: unknown
  readonly isAxiosError: unknown
  readonly expose: unknown
  readonly status: unknown
  readonly statusCode: unknown
  readonly headers: unknown
  readonly response: unknown
}

const maxChain = 8

/** One property of a thrown value. Any value may be thrown: a getter may throw, a proxy may have been revoked. */
export function propertyOf(value: unknown, name: PropertyKey): unknown {
  try {
    return Object(value)[name]
  } catch {
    return undefined
  }
}

/** The error and what caused it, outermost first; cycles and endless chains are cut. */
export function causeChain(error: unknown): Cause[] {
  const seen: object[] = []
  const waiting: unknown[] = [error]
  while (waiting.length > 0 && seen.length < maxChain) {
    const link = waiting.shift()
    if (typeof link !== 'object' || link === null || seen.includes(link)) continue
    seen.push(link)
    const errors = propertyOf(link, 'errors')
    waiting.push(propertyOf(link, 'cause'), ...(isArray(errors) ? errors.slice(0, maxChain) : []))
  }
  return seen.map(readCause)
}

/** `Array.isArray` throws for a revoked proxy. */
function isArray(value: unknown): value is unknown[] {
  try {
    return Array.isArray(value)
  } catch {
    return false
  }
}

function readCause(thrown: object): Cause {
  const read = (name: string) => propertyOf(thrown, name)
  return {
    thrown,
    code: read('code'),
    // node-fetch names it otherwise.
    syscall: read('syscall') ?? read('erroredSysCall'),
    name: read('name'),
    message: read('message'),
    stack: read('stack'),
    isAxiosError: read('isAxiosError'),
    expose: read('expose'),
    status: read('status'),
    statusCode: read('statusCode'),
    headers: read('headers'),
    response: read('response'),
  }
}

/** A value as a text. Any value may be thrown, also one that has no text. */
export function textOf(value: unknown): string {
  try {
    return String(value)
  } catch {
    return 'something that cannot be shown'
  }
}
