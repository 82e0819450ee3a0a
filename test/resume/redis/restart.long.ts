import { restartContract } from './restart-contract.js'

// `restart.test.ts` has the newest ones.
for (const name of ['redis 5', 'redis 4', 'ioredis 5']) restartContract(name)
