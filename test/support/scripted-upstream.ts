export {
  type ScriptedUpstream,
  startUpstream,
  type UpstreamScript as Script,
} from '../../src/testing/index.js'
