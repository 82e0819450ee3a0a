/**
 * One value per process and name, also with several copies of unhang in it; made when it is first asked for.
 *
 * @__NO_SIDE_EFFECTS__
 */
export function processWide<Value extends object>(name: string, create: () => Value): () => Value {
  const key = Symbol.for(`unhang.${name}`)
  const holder = globalThis as { [key: symbol]: unknown }
  let value: Value | undefined
  return () => {
    if (!value) {
      holder[key] ??= create()
      value = holder[key] as Value
    }
    return value
  }
}
