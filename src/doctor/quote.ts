/** How the doctor shows text of a peer: quoted, cut, and without secrets. */
export type Quote = (said: string) => string

/** Masks secrets in a text: a peer that is asked with a key may say it, in an error for example. */
export function maskOf(secrets: readonly string[]): (text: string) => string {
  const forms = secrets.flatMap(formsOf).sort((one, other) => other.length - one.length)
  return (text) => forms.reduce((rest, form) => rest.replaceAll(form, () => masked(form)), text)
}

/** A secret as JSON, a URL and `Authorization: Basic` write it. */
function formsOf(secret: string): string[] {
  if (secret === '') return []
  const written = [JSON.stringify(secret).slice(1, -1), encodeURIComponent(secret)]
  return [...new Set([secret, ...written, Buffer.from(secret).toString('base64')])]
}

const shownLength = 4
const longEnough = 16

/** Enough to know which key it was. */
function masked(secret: string): string {
  return secret.length < longEnough ? '…' : `…${secret.slice(-shownLength)}`
}

/** Shorter ones, such as an `api-version`, would be found in everything that is said. */
const minParameterLength = 6

/** The parts of a URL that only its owner should read. */
export function secretsOf({ username, password, searchParams }: URL): string[] {
  const parameters = [decoded(username), ...searchParams.values()]
  return [decoded(password), ...parameters.filter(({ length }) => length >= minParameterLength)]
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/** A URL without its secrets. */
export function publicUrl(url: URL): string {
  return `${url.origin}${url.pathname}`
}
