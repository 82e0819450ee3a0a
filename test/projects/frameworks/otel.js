// OpenTelemetry's own instrumentation of node:http; prints each span of a server.
import { createRequire } from 'node:module'
import { HttpInstrumentation } from '@opentelemetry/instrumentation-http'
import { NodeTracerProvider } from '@opentelemetry/sdk-trace-node'

const exporter = {
  export(spans, done) {
    for (const { kind, attributes } of spans) {
      if (kind === 1) console.log(`span: ${attributes['http.method']} ${attributes['http.status_code']}`)
    }
    done({ code: 0 })
  },
  shutdown: async () => {},
}
const processor = {
  onStart() {},
  onEnd: (span) => exporter.export([span], () => {}),
  forceFlush: async () => {},
  shutdown: async () => {},
}
const tracerProvider = new NodeTracerProvider({ spanProcessors: [processor] })
tracerProvider.register()
const instrumentation = new HttpInstrumentation()
instrumentation.setTracerProvider(tracerProvider)
// It waits until other code requires it.
createRequire(import.meta.url)('node:http')
