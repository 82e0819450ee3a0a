// One proxy of the bench, as its own process: `node target.mjs NAME UPSTREAM_PORT`.
const [, , name, upstreamPort] = process.argv
const { start } = await import(`../targets/${name}.mjs`)
const server = await start({ upstreamPort: Number(upstreamPort) })
server.keepAliveTimeout = 60_000
server.listen(0, '127.0.0.1', () => process.send({ port: server.address().port }))
process.on('SIGINT', () => process.exit())
