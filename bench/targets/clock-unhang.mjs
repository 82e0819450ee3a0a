export { clock as start } from './unhang.mjs'
