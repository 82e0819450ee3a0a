/** One value per process and name, also with several copies of unhang in it. */
export function processWide<Value extends object>(name: string, create: () => Value): Value {
  const key = Symbol.for(`unhang.${name}`)
  const holder = globalThis as { [key: symbol]: unknown }
  holder[key] ??= create()
  return holder[key] as Value
}
