export { passThrough as start } from './unhang.mjs'
