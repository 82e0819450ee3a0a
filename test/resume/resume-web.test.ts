import { memoryStore } from '../../src/resume/index.js'
import { resumingClients } from './clients-contract.js'
import { fetchMount } from './resumable.js'
import { resumeContract } from './resume-contract.js'

async function memory() {
  const store = memoryStore()
  return { producer: store, reader: store, close() {} }
}

resumeContract('memory', memory, fetchMount)
resumingClients('memory', memory, fetchMount)
