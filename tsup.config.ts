import { defineConfig, type Options } from 'tsup'

const shared: Options = {
  entry: {
    index: 'src/index.ts',
    express: 'src/adapters/express.ts',
    fastify: 'src/adapters/fastify.ts',
    koa: 'src/adapters/koa.ts',
    register: 'src/register.ts',
    resume: 'src/resume/index.ts',
    testing: 'src/testing/index.ts',
  },
  target: 'node20',
  platform: 'node',
  splitting: true,
  sourcemap: true,
  treeshake: false,
  dts: true,
  removeNodeProtocol: false,
}

export default defineConfig([
  { ...shared, format: 'esm', clean: true },
  // p-timeout is ESM only: a CommonJS proxy (and its Jest suite) gets it inside our own file.
  // Rollup writes it: what tsup does otherwise to share files puts closures in the place of every ?. and ??.
  { ...shared, format: 'cjs', noExternal: ['p-timeout'], treeshake: true },
  // By itself: what it shares with the library would become one more file for everybody who imports that.
  { ...shared, entry: { cli: 'src/cli.ts' }, format: 'esm', splitting: false, dts: false },
])
