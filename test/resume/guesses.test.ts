import { memoryStore } from '../../src/resume/index.js'
import { guessesContract } from './guesses-contract.js'

guessesContract('memory', async () => ({ store: memoryStore() }))
