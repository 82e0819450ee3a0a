import { restartContract } from './restart-contract.js'

for (const name of ['redis 6', 'ioredis 6']) restartContract(name)
