import { defineConfig, type Options } from 'tsup'

/** For Node. */
const node = {
  index: 'src/index.ts',
  express: 'src/adapters/express.ts',
  fastify: 'src/adapters/fastify.ts',
  koa: 'src/adapters/koa.ts',
  register: 'src/register.ts',
  resume: 'src/resume/index.ts',
  testing: 'src/testing/index.ts',
}
/** For any runtime. */
const web = { hono: 'src/adapters/hono.ts', web: 'src/web/index.ts' }

const shared: Options = {
  entry: node,
  target: 'node20',
  platform: 'node',
  splitting: true,
  sourcemap: true,
  treeshake: false,
  // The types of all stand in one place: an option of one is an option of the other.
  dts: { entry: { ...node, ...web } },
  removeNodeProtocol: false,
}

/** p-timeout is ESM only: a CommonJS proxy (and its Jest suite) gets it inside our own file. */
const commonjs: Options = {
  format: 'cjs',
  noExternal: ['p-timeout'],
  // Rollup writes it: what tsup does otherwise to share files puts closures in the place of every ?. and ??.
  treeshake: true,
}

/** By itself: what it shares with the library would become one more file for everybody who imports that. */
const apart: Options = { ...shared, dts: false }

export default defineConfig([
  { ...shared, format: 'esm', clean: true },
  { ...shared, ...commonjs },
  { ...apart, entry: { cli: 'src/cli.ts' }, format: 'esm', splitting: false },
  { ...apart, entry: web, format: 'esm', platform: 'neutral' },
  { ...apart, ...commonjs, entry: web, platform: 'neutral' },
])
