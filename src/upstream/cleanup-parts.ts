import type { CleanupPart } from './cleanup-part.js'
import { isNodePart, StreamPart } from './stream-part.js'
import { WebPart } from './web-part.js'

interface Composite {
  data?: unknown
  body?: unknown
  request?: unknown
  response?: unknown
  _currentRequest?: unknown
}

/** A part, and every object that stands for it: a request and its response are one. */
export interface IdentifiedPart {
  part: CleanupPart
  identities: object[]
}

/** The parts of a target. */
export function collectParts(target: unknown): IdentifiedPart[] {
  const parts: IdentifiedPart[] = []
  const seen = new Set<object>()
  const visit = (value: unknown, aliases: object[] = []): void => {
    if (typeof value !== 'object' || value === null || seen.has(value)) return
    seen.add(value)
    if (Array.isArray(value)) for (const item of value) visit(item)
    else if (value instanceof AbortController) add(new ControllerPart(value), value, aliases)
    else if (value instanceof ReadableStream) add(new WebPart(value), value, aliases)
    else if (isNodePart(value)) {
      // Destroying the response of a request destroys the request; without a response there is only the request.
      if (value.res && isNodePart(value.res)) visit(value.res, [value, ...aliases])
      else add(new StreamPart(value), value, value.req ? [value.req, ...aliases] : aliases)
    } else visitResponse(value as Composite, aliases)
  }
  const add = (part: CleanupPart, value: object, aliases: object[]) => {
    parts.push({ part, identities: [value, ...aliases] })
  }
  const visitResponse = (response: Composite, aliases: object[]): void => {
    const { data, body, request, _currentRequest } = response
    // axios keeps its request in here, behind the redirects it followed.
    const requests = [request, _currentRequest].filter(isObject)
    const bodies = [data, body, response.response].filter(isObject)
    for (const found of bodies) visit(found, [response, ...requests, ...aliases])
    if (bodies.length === 0) for (const found of requests) visit(found, [response, ...aliases])
  }
  visit(target)
  return parts
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null
}

class ControllerPart implements CleanupPart {
  readonly #controller: AbortController

  constructor(controller: AbortController) {
    this.#controller = controller
  }

  get closed(): boolean {
    return this.#controller.signal.aborted
  }

  async finish(): Promise<void> {}

  async stop(reason: Error | undefined): Promise<'destroy'> {
    this.#controller.abort(reason)
    return 'destroy'
  }
}
