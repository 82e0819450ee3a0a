export { forAwait as start } from './unhang.mjs'
