export { type AnswerShape, answers, type UpstreamAnswer } from './answers.js'
export { assertCleanEnding, type ReceivedAnswer, type ToldError } from './clean-ending.js'
export type { ReceivedBody } from './decode-chunked.js'
export { type FaultName, faults, faultsOf } from './faults.js'
export { type OpenAIErrorBody, RawClient, type RawRequest, rawRequest } from './raw-client.js'
export { scriptByModel } from './script-by-model.js'
export {
  type ScriptedUpstream,
  startUpstream,
  type UpstreamExchange,
  type UpstreamScript,
} from './scripted-upstream.js'
