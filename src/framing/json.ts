import { shown } from '../errors/bad-input.js'

/** @throws TypeError for data that is not JSON-serialisable */
export function jsonText(data: unknown): string {
  const json: string | undefined = JSON.stringify(data)
  if (json === undefined) throw new TypeError(`event.data is not JSON-serialisable: ${shown(data)}`)
  return json
}

/** Whether a text is a whole JSON document, even if it goes on. After a number, more digits may still have been to come. */
export function isWholeJson(text: string): boolean {
  return isJson(text) && !/^\s*-?\d/.test(text)
}

export function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}
