export { assertCleanEnding, type ReceivedAnswer, type ToldError } from './clean-ending.js'
export { type FaultName, faults } from './faults.js'
export { RawClient, type RawRequest, rawRequest } from './raw-client.js'
export {
  type ScriptedUpstream,
  startUpstream,
  type UpstreamExchange,
  type UpstreamScript,
} from './scripted-upstream.js'
