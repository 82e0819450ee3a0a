// nginx as a target of the bench: `node nginx.mjs nginx UPSTREAM_PORT`. Its master and its worker are children of
// this process, which ends them when it ends.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { freePort } from './free-port.mjs'

const [, , , upstreamPort] = process.argv
const folder = mkdtempSync(join(tmpdir(), 'unhang-bench-nginx-'))
const port = await freePort()
const inFolder = (name) => `${name} ${join(folder, name)};`

writeFileSync(
  join(folder, 'nginx.conf'),
  `daemon off;
worker_processes 1;
pid ${join(folder, 'nginx.pid')};
error_log stderr notice;
events { worker_connections 4096; }
http {
  access_log off;
  keepalive_timeout 60s;
  ${['client_body_temp_path', 'proxy_temp_path', 'fastcgi_temp_path'].map(inFolder).join('\n  ')}
  ${['uwsgi_temp_path', 'scgi_temp_path'].map(inFolder).join('\n  ')}
  upstream bench { server 127.0.0.1:${upstreamPort}; keepalive 128; }
  server {
    listen 127.0.0.1:${port} backlog=4096;
    location / {
      proxy_pass http://bench;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
      proxy_read_timeout 60s;
    }
  }
}
`,
)

const nginx = spawn('nginx', ['-p', folder, '-c', join(folder, 'nginx.conf'), '-e', 'stderr'], {
  stdio: ['ignore', 'ignore', 'pipe'],
})

async function stop() {
  if (nginx.exitCode === null && nginx.signalCode === null) {
    nginx.kill('SIGTERM')
    await once(nginx, 'exit')
  }
  rmSync(folder, { recursive: true, force: true })
  process.exit()
}
process.on('SIGINT', stop).on('SIGTERM', stop).on('disconnect', stop)
nginx.once('exit', stop)

for await (const line of createInterface({ input: nginx.stderr })) {
  if (/ start worker process \d+/.test(line)) process.send({ port, pids: [nginx.pid, ...workers()] })
  else if (/\[(emerg|alert|crit)\]/.test(line)) process.stderr.write(`${line}\n`)
}

function workers() {
  return readFileSync(`/proc/${nginx.pid}/task/${nginx.pid}/children`, 'utf8').trim().split(' ').map(Number)
}
