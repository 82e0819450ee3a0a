// `pipe-promises`, read in paused mode.
import { keepPromises } from './promises-by-hand.mjs'
import { readPaused } from './read-paused.mjs'
import { WholeEvents } from './whole-events.mjs'

export const start = keepPromises(() => new WholeEvents(), readPaused)
