import { setTimeout as later } from 'node:timers/promises'
import { checkNames, shown } from '../errors/bad-input.js'
import { type AnswerShape, answers, type UpstreamAnswer } from './answers.js'
import { type FaultName, faults, faultsIn } from './faults.js'
import { jsonAnswers } from './json-answers.js'
import type { UpstreamExchange, UpstreamScript } from './scripted-upstream.js'

const faultNames = Object.keys(faults) as FaultName[]

const shapes: readonly [RegExp, AnswerShape][] = [
  [/\/chat\/completions\/?$/, 'openai'],
  [/\/responses\/?$/, 'openaiResponses'],
  [/\/messages\/?$/, 'anthropic'],
  [/:(streamG|g)enerateContent\/?$/, 'gemini'],
  [/\/api\/chat\/?$/, 'ollama'],
]

const models = faultNames.map((name) => `fault:${name}`)

/** The lists of models: OpenAI's and Anthropic's have one path. */
const lists: readonly [RegExp, object][] = [
  [
    /\/v1beta\/models\/?$/,
    {
      models: models.map((model) => ({
        name: `models/${model}`,
        supportedGenerationMethods: ['generateContent'],
      })),
    },
  ],
  [
    /\/models\/?$/,
    {
      object: 'list',
      data: models.map((id) => ({ id, object: 'model', type: 'model', owned_by: 'unhang' })),
    },
  ],
  [/\/api\/tags\/?$/, { models: models.map((name) => ({ name, model: name })) }],
  [/\/api\/version\/?$/, { version: '0.0.0' }],
]

/**
 * Returns a script that speaks every API of the kit: the path says which API, and the model's name says which fault, as
 * in `"model": "fault:resetMidStream"`. Any other model gets a good answer. `npx unhang upstream` serves it.
 *
 * @param options.fault the fault of every answer; default `all`: the one that the model's name says
 * @param options.words what each streamed answer says before its fault, one event each; default none
 * @param options.wordMs the time between two words, in milliseconds; default 0
 * @throws TypeError for an unknown option or fault
 * @example
 * await using upstream = await startUpstream(scriptByModel())
 * const models = await fetch(`${upstream.url}/v1/models`)
 */
export function scriptByModel(
  options: {
    fault?: FaultName | 'all' | undefined
    words?: readonly string[] | undefined
    wordMs?: number | undefined
  } = {},
): UpstreamScript {
  checkNames(options, { owner: 'options.', names: ['fault', 'words', 'wordMs'] })
  const { fault = 'all', words = [], wordMs = 0 } = options
  if (fault !== 'all' && !faultNames.includes(fault))
    throw new TypeError(`options.fault must be all or one of ${faultNames.join(', ')}; got ${shown(fault)}`)
  return async (exchange) => {
    const { pathname, body } = requestOf(exchange)
    const list = lists.find(([path]) => path.test(pathname))?.[1]
    if (list) return exchange.answer('200 OK', JSON.stringify(list))
    const shape = shapes.find(([path]) => path.test(pathname))?.[1]
    if (!shape) return refuse(exchange, `There is no ${pathname}.`)
    const model = /\/models\/(.+):\w+$/.exec(pathname)?.[1] ?? String(body.model)
    const named = /(?:^|\/)fault:(\w+)$/.exec(model)?.[1] ?? 'good'
    const name = faultNames.find((each) => each === (fault === 'all' ? named : fault))
    if (!name) return refuse(exchange, `There is no ${model}; there are ${models.join(', ')}.`)
    if (!wantsStream(shape, pathname, body)) return faultsIn(jsonAnswers[shape])[name](exchange)
    const answer = answers[shape]
    if (words.length === 0 || early.includes(name)) return faultsIn(answer)[name](exchange)
    await say(exchange, answer, words, wordMs)
    // From here on, the fault happens to an answer that has begun.
    const begun = Object.create(exchange, { open: { value: () => exchange } })
    return faultsIn({ ...answer, begun: answer.piece('Hel') })[name](begun)
  }
}

/** Faults that show before an answer has begun. */
const early: readonly FaultName[] = [
  'silent',
  'resetBeforeHead',
  'finBeforeHead',
  'slowHead',
  'headOnly',
  'onlyComments',
  'empty',
  'endlessLine',
  'garbage',
  'shortBody',
  'webPage',
  'jsonError',
  'errorEvent',
  'rateLimited',
  'serverError',
  'slowError',
]

async function say(
  exchange: UpstreamExchange,
  { headers, begun, piece }: UpstreamAnswer,
  [first = '', ...more]: readonly string[],
  wordMs: number,
): Promise<void> {
  exchange.open(headers).chunk(begun.replace('"Hel"', () => JSON.stringify(first)))
  for (const word of more) {
    await later(wordMs)
    if (exchange.socket.destroyed) return
    exchange.chunk(piece(word))
  }
  await later(wordMs)
}

function requestOf({ head, body }: UpstreamExchange): { pathname: string; body: Record<string, unknown> } {
  const [, target = '/'] = head.split(' ', 2)
  const path = target.split('?', 1)[0] ?? '/'
  return {
    pathname: attempt(() => decodeURIComponent(path)) ?? path,
    body: Object(attempt(() => JSON.parse(body))),
  }
}

function attempt<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch {
    return undefined
  }
}

function wantsStream(shape: AnswerShape, pathname: string, body: Record<string, unknown>): boolean {
  if (shape === 'gemini') return /:stream/.test(pathname)
  // Ollama streams unless the request says otherwise.
  return shape === 'ollama' ? body.stream !== false : body.stream === true
}

function refuse(exchange: UpstreamExchange, message: string): unknown {
  return exchange.answer('404 Not Found', JSON.stringify({ error: { message, code: 'not_found' } }))
}
