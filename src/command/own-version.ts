import { readFile } from 'node:fs/promises'

/** The version of the package that this file was installed with. */
export async function ownVersion(): Promise<string> {
  // The command is one file of dist/; a test runs it from src/.
  for (const above of ['../package.json', '../../package.json']) {
    try {
      return (JSON.parse(await readFile(new URL(above, import.meta.url), 'utf8')) as { version: string })
        .version
    } catch {
      // One folder further up.
    }
  }
  throw new Error('package.json is missing')
}
