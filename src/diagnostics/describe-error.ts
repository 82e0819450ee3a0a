import { causeChain, textOf } from '../errors/cause-chain.js'

const maxText = 100
// biome-ignore lint/suspicious/noControlCharactersInRegex: text of a peer must not control a terminal
const controls = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g
/** Keys stand in the user part and in the query of URLs. */
const secretsOfUrl = /\b([a-z][a-z\d+.-]{0,30}:\/\/)(?:[^\s/?#]*@)?([^\s?#"'<>]*)(?:\?[^\s#"'<>]*)?/gi
/** A query without a scheme: `fetch` names a URL that it cannot parse. */
const bareQuery = /\?[\w.-]{1,60}=[^\s"'<>]*/g
/** undici names the header that it cannot send, with its value. */
const credentials = /\b(Bearer|Basic) +(?=[\w.~+/=-]*[\d._=-])[\w.~+/=-]{8,}/gi
const headerValue = /"[^"]*" is an invalid header value/g
const keys = /\b(?:sk|pk|rk|gsk|xai)[-_][\w-]{6,}|\bAIza[\w-]{6,}/g
/** Node quotes text that cannot be parsed: most often a prompt, or an answer. */
const quotedJson = /(?:\.\.\.)?"[\s\S]{0,200}?"(?:\.\.\.)? is not valid JSON/g

/** Text of a peer, such as the name of a model: quoted, on one line, and not without end. */
export function describeText(text: string | undefined): string {
  if (text === undefined) return 'undefined'
  const json = JSON.stringify(text).replace(controls, escapeControl)
  return json.length <= maxText ? json : `${json.slice(0, maxText)}…"`
}

/** An error on one line: name, code and message, and nothing that its client hung on to it (axios: the key, the prompt). */
export function describeError(error: unknown): string {
  const lines = publicText(lineOf(error)).split('\n')
  return lines
    .map((line) => line.trim())
    .filter(Boolean)
    .join(' ')
}

/** An error and its causes with their stacks, for finding a bug. */
export function describeTrace(error: unknown): string {
  const chain = causeChain(error)
  if (chain.length === 0) return describeError(error)
  return chain
    .map(({ thrown, stack }, index) => {
      const trace = typeof stack === 'string' && stack !== '' ? framesOf(stack) : ''
      return `${index === 0 ? '' : 'caused by '}${publicText(lineOf(thrown))}${trace}`
    })
    .join('\n')
}

function lineOf(error: unknown): string {
  const [link] = causeChain(error)
  if (!link) return textOf(error)
  const { name, code, message } = link
  if (message === undefined && name === undefined) return textOf(error)
  const named = typeof name === 'string' && name !== '' ? name : 'Error'
  const coded = typeof code === 'string' || typeof code === 'number' ? ` ${code}` : ''
  return `${named}${coded}: ${typeof message === 'string' ? message : textOf(message)}`
}

/** The lines of a stack without its first, the message. */
function framesOf(stack: string): string {
  const at = stack.search(/\n[ \t]+at /)
  return at === -1 ? '' : publicText(stack.slice(at))
}

/** A text without control characters, and without keys in URLs and headers. */
export function publicText(text: string): string {
  return text
    .replace(secretsOfUrl, '$1$2')
    .replace(bareQuery, '')
    .replace(headerValue, '"…" is an invalid header value')
    .replace(credentials, '$1 …')
    .replace(keys, '…')
    .replace(quotedJson, '… is not valid JSON')
    .replace(controls, escapeControl)
}

function escapeControl(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
}
