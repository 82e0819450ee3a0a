export type { WebCall } from './call.js'
export { type GuardResponseOptions, guardResponse } from './guard-response.js'
export { type RelayedUpstream, type RelayResponseOptions, relayResponse } from './relay-response.js'
