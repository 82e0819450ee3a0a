import express5 from 'express'
import express4 from 'express4'

/** Both majors that are supported; what is used of them is the same. */
export const expressVersions: [string, typeof express5][] = [
  ['Express 5', express5],
  ['Express 4', express4 as unknown as typeof express5],
]
