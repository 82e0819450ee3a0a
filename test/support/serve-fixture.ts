// Serves a fixture without the guard in a process of its own, which may end: node --import tsx … NAME UPSTREAM_URL
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fixtures } from './fixtures.js'

const [name = '', upstreamUrl = ''] = process.argv.slice(2)
const fixture = fixtures[name]
if (!fixture) throw new Error(`no fixture is called ${name}`)
const server = createServer(fixture.app(upstreamUrl)).listen(0, '127.0.0.1', () => {
  console.log((server.address() as AddressInfo).port)
})
