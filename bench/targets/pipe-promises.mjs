// `pipe`, with the promises by hand.
import { keepPromises } from './promises-by-hand.mjs'
import { readFlowing } from './read-flowing.mjs'
import { WholeEvents } from './whole-events.mjs'

export const start = keepPromises(() => new WholeEvents(), readFlowing)
