import { createServer } from 'node:http'
import { wrapApp } from 'unhang'
import { listener } from './naive.mjs'

export const start = ({ upstreamPort }) => createServer(wrapApp(listener(upstreamPort), { adopt: false }))
