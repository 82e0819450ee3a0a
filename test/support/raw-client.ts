export { RawClient, rawRequest } from '../../src/testing/index.js'
