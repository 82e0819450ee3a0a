export { translate as start } from './unhang.mjs'
