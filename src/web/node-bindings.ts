import { type Guarded, guards } from '../registry.js'

/** On Node, Hono's server hands the request and the response of `node:http` to a fetch handler. */
interface NodeBindings {
  readonly incoming?: { readonly socket?: { readonly server?: object } }
  readonly outgoing?: object
}

/** The server that accepted a request. */
export function serverOf(bindings: unknown): object | undefined {
  return (Object(bindings) as NodeBindings).incoming?.socket?.server
}

/** The guard around the whole server. */
export function serverGuardOf(bindings: unknown): Guarded | undefined {
  return guards().get((Object(bindings) as NodeBindings).outgoing as object)
}

/** The guards around a request leave it alone: that of the fetch handler, and that of the whole server. */
export function guardsStepAside(request: Request, bindings: unknown): void {
  for (const guard of [guards().get(request), serverGuardOf(bindings)]) guard?.stepAside()
}
