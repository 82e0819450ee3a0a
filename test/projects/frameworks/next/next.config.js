import { fileURLToPath } from 'node:url'

/** What the pages share with the other apps lies beside this folder. */
const root = fileURLToPath(new URL('..', import.meta.url))

export default { poweredByHeader: false, outputFileTracingRoot: root, turbopack: { root } }
