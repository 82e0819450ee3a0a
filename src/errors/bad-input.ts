/** A value as a message shows it. */
export function shown(value: unknown): string {
  if (typeof value === 'function') return value.name === '' ? 'a function' : `the function ${value.name}`
  if (typeof value === 'string') return cut(JSON.stringify(value))
  if (typeof value !== 'object' || value === null) return String(value)
  const { name = 'Object' } = value.constructor ?? {}
  if (!Array.isArray(value) && name !== 'Object') return `an object of ${name}`
  try {
    return cut(JSON.stringify(value))
  } catch {
    return 'an object'
  }
}

function cut(json: string): string {
  return json.length <= 100 ? json : `${json.slice(0, 100)}…`
}

/** An object of options, as {@link checkNames} knows it. */
export interface KnownNames {
  /** How messages name an option's owner, with its dot; `''` for options of the call itself. */
  readonly owner: string
  readonly names: readonly string[]
  /** The right name for a name that is used elsewhere, or was used before. */
  readonly instead?: Readonly<Record<string, string>>
}

/**
 * Refuses an option that is not there: a misspelt one would silently do nothing.
 *
 * @throws TypeError that names it, and the name that was probably meant
 */
export function checkNames(options: object, { owner, names, instead = {} }: KnownNames): void {
  checkOptions(owner === '' ? 'options' : owner.slice(0, -1), options)
  for (const name of Object.keys(options)) {
    if (names.includes(name)) continue
    const meant = Object.hasOwn(instead, name) ? instead[name] : (nested(name) ?? nearest(name, names))
    const hint = meant === undefined ? `there are ${names.join(', ')}` : `did you mean ${meant}?`
    throw new TypeError(`${owner}${name} is not an option; ${hint}`)
  }
}

/**
 * @param what how messages name it
 * @throws TypeError for anything but an object
 */
export function checkObject(what: string, value: unknown, expected = 'an object'): asserts value is object {
  if (typeof value === 'object' && value !== null) return
  throw new TypeError(`${what} must be ${expected}, got ${shown(value)}`)
}

/** A signal, say, has no names of its own: without this it would be taken for options of which none is set. */
function checkOptions(what: string, value: object): void {
  checkObject(what, value)
  const hint = 'aborted' in value ? '; write { signal }' : ''
  if (hint === '' && !Array.isArray(value)) return
  throw new TypeError(`${what} must be an object, got ${shown(value)}${hint}`)
}

/** @throws TypeError for anything but a function; `undefined` means not set */
export function checkFunction(what: string, value: unknown): void {
  if (value === undefined || typeof value === 'function') return
  throw new TypeError(`${what} must be a function, got ${shown(value)}`)
}

/** @throws TypeError for anything but true and false; `undefined` means not set */
export function checkFlag(what: string, value: unknown): void {
  if (value === undefined || typeof value === 'boolean') return
  throw new TypeError(`${what} must be true or false, got ${shown(value)}`)
}

/** @throws TypeError for anything but one of these texts; `undefined` means not set */
export function checkChoice(what: string, value: unknown, known: readonly string[], hint = ''): void {
  if (value === undefined || known.includes(value as string)) return
  const expected = known.map((each) => `'${each}'`).join(' or ')
  throw new TypeError(`${what} must be ${expected}, got ${shown(value)}${hint}`)
}

/** @throws TypeError for anything but a number above 0; `undefined` means not set */
export function checkPositive(what: string, value: unknown): void {
  if (value === undefined || (typeof value === 'number' && value > 0)) return
  throw new TypeError(`${what} must be a number above 0, got ${shown(value)}`)
}

/** @throws TypeError for anything but a signal; `undefined` means not set */
export function checkSignal(what: string, value: unknown): void {
  if (value === undefined) return
  const { aborted, addEventListener, signal } = Object(value)
  if (typeof aborted === 'boolean' && typeof addEventListener === 'function') return
  const hint = signal === undefined ? '' : '; write controller.signal'
  throw new TypeError(`${what} must be an AbortSignal, got ${shown(value)}${hint}`)
}

/** A dot in the documents means an object in an object. */
function nested(name: string): string | undefined {
  const [owner, ...rest] = name.split('.')
  return rest.length > 0 ? `${owner}: { ${rest.join('.')} }` : undefined
}

/** The known name that is nearest to a misspelt one, if one is near. */
export function nearest(name: string, names: readonly string[]): string | undefined {
  const wanted = name.toLowerCase()
  const starting = names.filter((known) => known.toLowerCase().startsWith(wanted))
  if (wanted.length > 3 && starting[0] !== undefined) return starting[0]
  const near = names.filter((known) => distance(wanted, known.toLowerCase()) <= Math.min(2, name.length / 3))
  return near[0]
}

/** How many letters have to be added, left out or changed to make one word the other. */
function distance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, at) => at)
  for (let at = 1; at <= from.length; at++) {
    const next = [at]
    for (let place = 1; place <= to.length; place++) {
      const change = from[at - 1] === to[place - 1] ? 0 : 1
      next.push(Math.min((row[place] ?? 0) + 1, (next[place - 1] ?? 0) + 1, (row[place - 1] ?? 0) + change))
    }
    row = next
  }
  return row[to.length] ?? 0
}
