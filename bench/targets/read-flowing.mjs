/** Each chunk as it comes, and none while the client does not keep up: `send` says whether it does. */
export function readFlowing(upstream, response, send) {
  response.on('drain', () => upstream.resume())
  upstream.on('data', (bytes) => {
    if (!send(bytes)) upstream.pause()
  })
}
