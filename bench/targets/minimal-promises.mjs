// `minimal`, with the promises by hand. It loses a text with an escape in it.
import { PlainTranslation } from './plain-translation.mjs'
import { keepPromises } from './promises-by-hand.mjs'
import { readFlowing } from './read-flowing.mjs'

export const start = keepPromises(() => new PlainTranslation(), readFlowing)
