// The whole test suite, or the test files given, under each line of Node that is supported, or those given:
// `npm run test:node-matrix [-- 22 24 test/promises/adoption-clients.test.ts]`.
import { spawn } from 'node:child_process'
import { once } from 'node:events'

const given = process.argv.slice(2)
const files = given.filter((each) => each.startsWith('test/'))
const wanted = given.filter((each) => !files.includes(each))
const lines = wanted.length > 0 ? wanted : ['20.19', '22', '24', '26']
const results = []
for (const line of lines) {
  console.log(`\n== Node ${line}`)
  const args = ['-y', `node@${line}`, 'node_modules/vitest/vitest.mjs', 'run', '--reporter=dot', ...files]
  const [status] = await once(spawn('npx', args, { stdio: 'inherit' }), 'close')
  results.push({ line, status })
}
console.log()
for (const { line, status } of results) console.log(`Node ${line}: ${status === 0 ? 'passed' : 'FAILED'}`)
process.exitCode = results.some(({ status }) => status !== 0) ? 1 : 0
