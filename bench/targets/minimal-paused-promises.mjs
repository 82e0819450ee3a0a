// `minimal-promises`, read in paused mode.
import { PlainTranslation } from './plain-translation.mjs'
import { keepPromises } from './promises-by-hand.mjs'
import { readPaused } from './read-paused.mjs'

export const start = keepPromises(() => new PlainTranslation(), readPaused)
