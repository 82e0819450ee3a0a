import { defineConfig, type Options } from 'tsup'

const shared: Options = {
  entry: {
    index: 'src/index.ts',
    express: 'src/adapters/express.ts',
    koa: 'src/adapters/koa.ts',
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
  { ...shared, format: 'cjs', noExternal: ['p-timeout'] },
  // By itself: what it shares with the library would become one more file for everybody who imports that.
  { ...shared, entry: { cli: 'src/cli.ts' }, format: 'esm', splitting: false, dts: false },
])
