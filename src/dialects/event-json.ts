/** The JSON object that an event carries; `undefined` for data that is none. */
export function jsonOf<Shape extends object>(data: unknown): Partial<Shape> | undefined {
  if (typeof data === 'object' && data !== null) return data as Partial<Shape>
  if (typeof data !== 'string' || !data.trimStart().startsWith('{')) return undefined
  try {
    return JSON.parse(data) as Partial<Shape>
  } catch {
    return undefined
  }
}
