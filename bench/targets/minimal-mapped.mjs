// `minimal-paused-promises`, of whatever a map makes: a function of the user's, whose results are looked at.
import { MappedEvents } from './mapped-events.mjs'
import { keepPromises } from './promises-by-hand.mjs'
import { readPaused } from './read-paused.mjs'

export const start = keepPromises(() => new MappedEvents(), readPaused)
