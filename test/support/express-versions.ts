import express5 from 'express'
import express4 from 'express4'
import express416 from 'express416'

/** Both majors that are supported, and the oldest version, which express-generator writes; the tests use their common part. */
export const expressVersions: [string, typeof express5][] = [
  ['Express 5', express5],
  ['Express 4', express4 as unknown as typeof express5],
  ['Express 4.16', express416 as unknown as typeof express5],
]
