#!/usr/bin/env node
import { runCommandLine } from './command/index.js'

process.exitCode = await runCommandLine(process.argv.slice(2))
