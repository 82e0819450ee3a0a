import { mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'

/** A folder inside the package, so that `unhang` is what `npm install unhang` would give. */
export async function workshop() {
  const folder = await mkdtemp(join('test', '.docs-'))
  return { folder, [Symbol.asyncDispose]: () => rm(folder, { recursive: true }) }
}
