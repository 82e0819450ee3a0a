// Does what the README says: `npm start`, then a streaming request with curl, whose tokens must come one by one.
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'

const startedAt = performance.now()
const server = spawn('npm', ['start'], { stdio: ['ignore', 'pipe', 'inherit'], detached: true })
try {
  const port = await new Promise((resolve, reject) => {
    server.stdout.on('data', (text) => {
      process.stdout.write(text)
      const listening = String(text).match(/Listening on http:\/\/127\.0\.0\.1:(\d+)/)
      if (listening) resolve(listening[1])
    })
    server.once('exit', (code) => reject(new Error(`npm start ended with ${code}`)))
    setTimeout(reject, 30_000, new Error('npm start did not serve within 30 s')).unref()
  })
  console.log(`serving after ${Math.round(performance.now() - startedAt)} ms`)

  const body = '{"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}], "stream": true}'
  const url = `http://127.0.0.1:${port}/v1/chat/completions`
  const curl = spawn('curl', ['-sN', url, '-H', 'Content-Type: application/json', '-d', body])
  const reads = []
  curl.stdout.on('data', (text) => reads.push(String(text)))
  await once(curl, 'close')
  const text = reads.join('')
  if (reads.length < 10) throw new Error(`the tokens came in ${reads.length} reads, not one by one`)
  if (!text.endsWith('data: [DONE]\n\n'))
    throw new Error(`the stream ended with ${JSON.stringify(text.slice(-80))}`)
  console.log(`curl -N: ${reads.length} reads, then data: [DONE]`)
  console.log(`GET /health: ${execFileSync('curl', ['-s', `http://127.0.0.1:${port}/health`])}`)
} finally {
  if (server.exitCode === null) {
    process.kill(-server.pid, 'SIGTERM')
    await once(server, 'exit')
  }
}
