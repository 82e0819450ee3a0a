import { memoryStore } from '../../src/resume/index.js'
import { secretIdContract } from './secret-id-contract.js'

secretIdContract('memory', async () => {
  const store = memoryStore()
  return { producer: store, reader: store, close() {} }
})
