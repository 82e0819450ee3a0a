import { type CallEnding, type CallOwner, type CallOwners, headOf, type UpstreamCall } from './call-owner.js'
import type { Subscribe } from './http-calls.js'

/** A request of undici, on which `fetch` is built, as far as we use it. */
interface UndiciRequest {
  readonly aborted?: boolean
  readonly completed?: boolean
  /** Set while there is a connection. */
  readonly abort?: ((reason: Error) => void) | null
}

interface UndiciMessage {
  readonly request: UndiciRequest
  readonly response: { readonly statusCode: number; readonly headers: readonly (Uint8Array | string)[] }
  readonly error: unknown
}

/** Follows each request of undici that is made for an owner. */
export function watchUndiciCalls(owners: CallOwners, subscribe: Subscribe): void {
  const calls = new WeakMap<UndiciRequest, UndiciCall>()
  subscribe('undici:request:create', ({ request }: UndiciMessage) => {
    const owner = owners.current
    if (!owner?.isOpen || owner.isShared) return
    const call = new UndiciCall(request, owner, () => calls.delete(request))
    calls.set(request, call)
    owner.begun(call)
  })
  subscribe('undici:request:headers', ({ request, response }: UndiciMessage) => {
    // Also for those that only say that more is to come.
    if (response.statusCode >= 200) calls.get(request)?.responded(response)
  })
  subscribe('undici:request:trailers', ({ request }: UndiciMessage) => calls.get(request)?.ended('done'))
  subscribe('undici:request:error', ({ request, error }: UndiciMessage) =>
    calls.get(request)?.ended(saysGone(error) ? 'broken' : 'aborted'),
  )
}

class UndiciCall implements UpstreamCall {
  readonly #request: UndiciRequest
  readonly #owner: CallOwner
  readonly #unlist: () => void
  #hasResponded = false

  constructor(request: UndiciRequest, owner: CallOwner, unlist: () => void) {
    this.#request = request
    this.#owner = owner
    this.#unlist = unlist
  }

  /** Its channel reports an end first, and the call ends with that. */
  readonly ending = undefined

  get isRunning(): boolean {
    return this.#hasResponded && !this.#request.aborted && !this.#request.completed
  }

  responded({ statusCode, headers }: UndiciMessage['response']): void {
    if (this.#hasResponded) return
    this.#hasResponded = true
    if (!this.#owner.responded(this, headOf(statusCode, typeIn(headers)))) this.#unlist()
  }

  ended(how: CallEnding): void {
    this.#unlist()
    this.#owner.ended(this, how)
  }

  cancel({ message, name }: Error): void {
    const { abort } = this.#request
    if (typeof abort === 'function') abort(new DOMException(message, name))
  }

  /** It has no brake. */
  pause(): boolean {
    return false
  }

  resume(): void {}
}

/** Names and values take turns. */
function typeIn(headers: readonly (Uint8Array | string)[]): string | undefined {
  const texts = headers.map((each) => Buffer.from(each as Uint8Array).toString('latin1'))
  const at = texts.findIndex((text, at) => at % 2 === 0 && text.toLowerCase() === 'content-type')
  return at === -1 ? undefined : texts[at + 1]
}

const goneCodes = new Set([
  'UND_ERR_SOCKET',
  'UND_ERR_RES_CONTENT_LENGTH_MISMATCH',
  'ECONNRESET',
  'ECONNABORTED',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENETDOWN',
  'ENETRESET',
])

/** Whether an error says that the peer has gone, or writes invalid HTTP. An app's own reason to abort says neither. */
function saysGone(error: unknown): boolean {
  const { code } = Object(error) as { code?: unknown }
  if (typeof code !== 'string') return false
  return goneCodes.has(code) || code.startsWith('HPE_') || code.startsWith('ERR_HTTP2_')
}
