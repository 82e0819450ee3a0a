/** What the rest of the library may know of the guard around a response. */
export interface Guarded {
  /** A stream written the unhang way takes the response over. */
  stepAside(): void
}

const registryKey = Symbol.for('unhang.guards')
type Registry = WeakMap<object, Guarded>

/** One registry per process, also with several copies of unhang in it; requests and responses are its keys. */
export function guards(): Registry {
  const holder = globalThis as { [registryKey]?: Registry }
  holder[registryKey] ??= new WeakMap()
  return holder[registryKey]
}
