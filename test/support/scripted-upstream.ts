import type { UpstreamScript } from '../../src/testing/index.js'
import { chatAnswer } from './chat.js'

export {
  type ScriptedUpstream,
  startUpstream,
  type UpstreamScript as Script,
} from '../../src/testing/index.js'

/** An upstream whose answer is whole: "Hello". */
export const good: UpstreamScript = (exchange) =>
  exchange
    .open()
    .data(...chatAnswer('Hello'))
    .end()
