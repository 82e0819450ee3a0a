/** The headers of an event stream. */
export const eventStream = { 'Content-Type': 'text/event-stream' }

/** Events as an upstream writes them: a text as it is, anything else as JSON. */
export const wire = (...events: unknown[]) =>
  events.map((event) => `data: ${typeof event === 'string' ? event : JSON.stringify(event)}\n\n`).join('')
