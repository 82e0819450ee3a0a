import { mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'

/** A folder inside the package, where `unhang` resolves as after `npm install unhang`. */
export async function workshop() {
  const folder = await mkdtemp(join('test', '.docs-'))
  return { folder, [Symbol.asyncDispose]: () => rm(folder, { recursive: true }) }
}
