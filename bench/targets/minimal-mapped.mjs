// `minimal-paused-promises` with a map: a function of the user's that makes chat chunks, which are looked at.
import { MappedEvents } from './mapped-events.mjs'
import { keepPromises } from './promises-by-hand.mjs'
import { readPaused } from './read-paused.mjs'

export const start = keepPromises(() => new MappedEvents(), readPaused)
