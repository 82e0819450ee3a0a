import { memoryStore } from '../../src/resume/index.js'
import { resumeContract } from './resume-contract.js'

resumeContract('memory', async () => {
  const store = memoryStore()
  return { producer: store, reader: store, close() {} }
})
