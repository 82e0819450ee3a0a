import { fork } from 'node:child_process'
import { once } from 'node:events'
import { withResolvers } from './with-resolvers.js'

/** The questions that a process can ask the program that it started, each by its name. */
export type Questions = Record<string, (argument: never) => unknown>

/** A part of a test in a process of its own. */
export interface Program<Asked extends Questions> extends AsyncDisposable {
  /** The text that it has written to its stderr. */
  readonly errors: string
  /** Its exit status or signal, once it has ended. */
  readonly ended: Promise<number | NodeJS.Signals>
  /** Stops it (`SIGSTOP`), lets it go on (`SIGCONT`), or kills it. */
  kill(signal: NodeJS.Signals): void
  /** Rejects when the program fails, or when it ends. */
  ask<Name extends keyof Asked & string>(
    name: Name,
    ...argument: Parameters<Asked[Name]>
  ): Promise<Awaited<ReturnType<Asked[Name]>>>
}

interface Question {
  id: number
  name: string
  argument: never
}

interface Reply {
  id: number
  result?: unknown
  failure?: string
}

/** Called by the program itself: replies to the questions. */
export function answerQuestions(questions: Questions): void {
  process.on('message', async ({ id, name, argument }: Question) => {
    const reply: Reply = { id }
    try {
      reply.result = await questions[name]?.(argument)
    } catch (error) {
      reply.failure = (error as Error).stack ?? String(error)
    }
    process.send?.(reply)
  })
  process.on('disconnect', () => process.exit())
}

/** Starts a program that answers questions. */
export function startProgram<Asked extends Questions>(
  file: string,
  environment: Record<string, string>,
): Program<Asked> {
  const child = fork(file, {
    execArgv: ['--import', 'tsx'],
    env: { ...process.env, NODE_OPTIONS: '', ...environment },
    stdio: ['ignore', 'inherit', 'pipe', 'ipc'],
  })
  const pending = new Map<number, ReturnType<typeof withResolvers<never>>>()
  let next = 0
  let errors = ''
  let failure: Error | undefined
  child.stderr?.on('data', (text) => {
    errors += text
  })
  child.on('message', ({ id, result, failure: failed }: Reply) => {
    if (failed === undefined) pending.get(id)?.resolve(result as never)
    else pending.get(id)?.reject(new Error(`${file}: ${failed}`))
    pending.delete(id)
  })
  child.once('close', (code, signal) => {
    failure = new Error(`${file} ended with ${code ?? signal}: ${errors}`)
    for (const { reject } of pending.values()) reject(failure)
  })
  return {
    get errors() {
      return errors
    },
    ended: once(child, 'close').then(([code, signal]) => code ?? signal),
    kill(signal) {
      child.kill(signal)
    },
    ask(name, ...[argument]) {
      if (failure) return Promise.reject(failure)
      const id = next++
      const reply = withResolvers<never>()
      pending.set(id, reply)
      child.send({ id, name, argument })
      return reply.promise
    },
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
    },
  }
}
