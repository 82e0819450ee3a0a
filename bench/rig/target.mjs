// One proxy of the bench, as its own process: `node target.mjs NAME UPSTREAM_PORT`.
const [, , name, upstreamPort] = process.argv

// Node writes the profile of --cpu-prof only on an exit.
process.on('disconnect', () => process.exit())
process.on('SIGINT', () => process.exit())
process.on('SIGTERM', () => process.exit())

const { start } = await import(`../targets/${name}.mjs`)
const server = await start({ upstreamPort: Number(upstreamPort) })
server.keepAliveTimeout = 60_000
server.listen(0, '127.0.0.1', 4096, () => process.send({ port: server.address().port }))

/** The memory that is still in use; `gc` is there with --expose-gc. */
process.on('message', () => {
  globalThis.gc?.()
  globalThis.gc?.()
  process.send(process.memoryUsage())
})
