import { type AboutRecording, readAbout } from './about.js'
import type { RedisShared } from './shared.js'

/** The facts of the stream of this id. @throws Error when Redis does not answer */
export async function findAbout(shared: RedisShared, id: string): Promise<AboutRecording | undefined> {
  const key = shared.keys.about(id)
  const found = await shared.commands.ask(key, 'GET', key)
  const recording = found instanceof Buffer ? readAbout(found) : undefined
  // A recording that was sealed with another key is as good as gone.
  return recording?.sealedWith === shared.sealedWith ? recording : undefined
}
