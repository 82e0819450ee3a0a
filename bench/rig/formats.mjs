// What the upstream says, and what the client must see of it.
import { hrtime } from 'node:process'

const head = { id: 'chatcmpl-bench', object: 'chat.completion.chunk', created: 1, model: 'bench' }
const chunk = (delta, reason = null) =>
  `data: ${JSON.stringify({ ...head, choices: [{ index: 0, delta, finish_reason: reason }] })}\n\n`

/**
 * A text is 24 characters: four digits of its number, 14 of its send time, and a tail. The digits of Chinese texts
 * are the ten characters from U+4E00, so that the last byte of a digit tells it in both.
 */
const alphabets = {
  ascii: { digits: '0123456789', tail: ' token', bytesPerDigit: 1 },
  cjk: { digits: '一丁丂七丄丅丆万丈三', tail: '流式传输事件', bytesPerDigit: 3 },
}

/** How fast tokens come. */
export const msPerEvent = 20

/** How long it takes until all streams of a paced profile have started. */
export const startsWithinMs = 1_000

/** Numbers start again after as many, so that a block of events can be repeated as it is. */
export const numbersInCycle = 256
const numberDigits = 4
const timeDigits = 14

function textOf(text, number, micros) {
  const digits = String(number).padStart(numberDigits, '0') + String(micros).padStart(timeDigits, '0')
  const { digits: alphabet, tail } = alphabets[text]
  return digits.replace(/\d/g, (digit) => alphabet[digit]) + tail
}

/** One event, by what the relay does: translating ones get Qolaba's format, the others the client's. */
export function eventOf(kind, text, number, micros = 0) {
  const output = textOf(text, number % numbersInCycle, micros)
  return kind === 'translate' ? `data: ${JSON.stringify({ output })}\n\n` : chunk({ content: output })
}

export function endOf(kind) {
  return kind === 'translate' ? 'data: {"output":null}\n\n' : `${chunk({}, 'stop')}data: [DONE]\n\n`
}

/** Two processes read the same clock. */
export function nowMicros() {
  return Number(hrtime.bigint() / 1_000n)
}

/** What precedes a text in what the client receives, unless its target has a format of its own. */
export const chatMarker = '"content":"'

/** How many bytes the digits of a text take. */
export function digitsLength(text) {
  return (numberDigits + timeDigits) * alphabets[text].bytesPerDigit
}

export function numberAt(bytes, at, text) {
  return readDigits(bytes, at, numberDigits, alphabets[text].bytesPerDigit)
}

export function microsAt(bytes, at, text) {
  const { bytesPerDigit } = alphabets[text]
  return readDigits(bytes, at + numberDigits * bytesPerDigit, timeDigits, bytesPerDigit)
}

function readDigits(bytes, at, count, bytesPerDigit) {
  let value = 0
  for (let digit = 0; digit < count; digit++) {
    at += bytesPerDigit
    value = value * 10 + (bytes[at - 1] & 0x0f)
  }
  return value
}
