import { fileURLToPath } from 'node:url'

/** The files that the pages share with the other apps lie beside this folder. */
const root = fileURLToPath(new URL('..', import.meta.url))

export default { poweredByHeader: false, outputFileTracingRoot: root, turbopack: { root } }
