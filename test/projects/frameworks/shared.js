// The common part of the apps: an upstream, and how each says on which port it listens.
/** Where the apps find their upstream. */
export const upstreamUrl = `${process.env.UPSTREAM_URL}/v1/chat/completions`

/** The options of an app that guards itself; unset, and it does not. */
export const guard = process.env.GUARD ? JSON.parse(process.env.GUARD) : undefined

/** Asks the upstream, as people do. */
export const ask = (body, signal) =>
  fetch(upstreamUrl, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: typeof body === 'string' ? body : JSON.stringify(body),
    signal,
  })

/** The chunks of an answer. Some event of the upstream sets a bug of the app off. */
export async function* chunksOf(body, signal) {
  const upstream = await ask(body, signal)
  for await (const chunk of upstream.body) {
    if (Buffer.from(chunk).includes('set the bug off')) throw new Error('a bug of the app')
    yield chunk
  }
}

/** The data of each event. */
export async function* eventsOf(body) {
  for await (const chunk of chunksOf(body)) {
    for (const [, data] of String(Buffer.from(chunk)).matchAll(/^data: (.*)$/gm)) yield data
  }
}

export const eventStream = { 'Content-Type': 'text/event-stream' }

/** Tells the test where the app is. */
export const listens = (server) => console.log(`listening on ${server.address().port}`)

export const page = `<!doctype html><title>page</title>${'<p>Some text.</p>'.repeat(2_000)}`
