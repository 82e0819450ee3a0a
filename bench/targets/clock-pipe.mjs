export { start } from './pipe.mjs'
