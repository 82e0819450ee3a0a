// The whole test suite under each line of Node that is supported: `npm run test:node-matrix [-- 22 24]`.
import { spawn } from 'node:child_process'
import { once } from 'node:events'

const lines = process.argv.length > 2 ? process.argv.slice(2) : ['20.19', '22', '24', '26']
const results = []
for (const line of lines) {
  console.log(`\n== Node ${line}`)
  const args = ['-y', `node@${line}`, 'node_modules/vitest/vitest.mjs', 'run', '--reporter=dot']
  const [status] = await once(spawn('npx', args, { stdio: 'inherit' }), 'close')
  results.push({ line, status })
}
console.log()
for (const { line, status } of results) console.log(`Node ${line}: ${status === 0 ? 'passed' : 'FAILED'}`)
process.exitCode = results.some(({ status }) => status !== 0) ? 1 : 0
