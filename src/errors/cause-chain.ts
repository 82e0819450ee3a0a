const names = [
  'code',
  'syscall',
  'name',
  'message',
  'stack',
  'isAxiosError',
  'expose',
  'status',
  'statusCode',
  'headers',
  'response',
] as const

/** The members of the errors that Node's clients throw, as far as we read them. */
export type Cause = Readonly<Record<(typeof names)[number], unknown>> & {
  /** As it was thrown. */
  readonly thrown: object
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
  const read = Object.fromEntries(names.map((name) => [name, propertyOf(thrown, name)])) as Cause
  // node-fetch names it otherwise.
  return { ...read, thrown, syscall: read.syscall ?? propertyOf(thrown, 'erroredSysCall') }
}

/** A value as a text. Any value may be thrown, also one that has no text. */
export function textOf(value: unknown): string {
  try {
    return String(value)
  } catch {
    return 'something that cannot be shown'
  }
}
