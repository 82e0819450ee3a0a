/** Reads in paused mode, and on only when the client keeps up: `send` says whether it does. */
export function readPaused(upstream, response, send) {
  let isWaiting = false
  const read = () => {
    while (!isWaiting) {
      const bytes = upstream.read()
      if (bytes === null) return
      isWaiting = !send(bytes)
    }
  }
  response.on('drain', () => {
    isWaiting = false
    read()
  })
  upstream.on('readable', read)
}
