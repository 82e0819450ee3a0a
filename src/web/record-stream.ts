import { type StreamRecording, streamIdHeaders } from '../stream/resume-target.js'
import type { WebStream } from './stream.js'

/**
 * Records the stream of a response that is about to be sent. Whether an id is free that the app has chosen is not known yet, so
 * that is not named. The app knows it anyway.
 */
export function recordGuarded(stream: WebStream): void {
  const recording = record(stream)
  if (recording && !recording.isChosen) name(stream, recording)
}

/**
 * Records a stream that has not begun.
 *
 * @throws StreamError for an id that is taken
 */
export async function recordRoute(stream: WebStream): Promise<void> {
  const recording = record(stream)
  if (recording?.isChosen) await recording.begun
  if (recording) name(stream, recording)
}

function record(stream: WebStream): StreamRecording | undefined {
  const { settings, subject, exchange, clock } = stream
  const { requestId, model, framing } = subject
  stream.recording = settings.resume?.record({
    requestId,
    model,
    request: subject.appRequest,
    framing,
    transcript: exchange.transcript,
    stop: (reason) => void clock.settle(reason),
  })
  if (stream.recording) exchange.recordTo(stream.recording)
  return stream.recording
}

function name(stream: WebStream, { streamId }: StreamRecording): void {
  const { given, settings } = stream
  stream.headers = streamIdHeaders(streamId, settings, (header) => given?.headers.has(header) === true)
}
