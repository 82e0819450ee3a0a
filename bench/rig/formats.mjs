// What the upstream says, and what the client must see of it.
const words = { ascii: 'The quick brown fox jump', cjk: '流式传输的事件在代理中不会丢失任何一个字符也不会断' }

const head = { id: 'chatcmpl-bench', object: 'chat.completion.chunk', created: 1, model: 'bench' }
const chunk = (delta, reason = null) =>
  `data: ${JSON.stringify({ ...head, choices: [{ index: 0, delta, finish_reason: reason }] })}\n\n`

/** Event texts by kind of relay: `translate` speaks Qolaba's format, `pass` the client's. */
export function eventOf(kind, text) {
  return kind === 'translate'
    ? `data: ${JSON.stringify({ output: words[text] })}\n\n`
    : chunk({ content: words[text] })
}

export function endOf(kind) {
  return kind === 'translate' ? 'data: {"output":null}\n\n' : `${chunk({}, 'stop')}data: [DONE]\n\n`
}

/** What marks one event of text in what the client receives. */
export const marker = Buffer.from('"content":"')
