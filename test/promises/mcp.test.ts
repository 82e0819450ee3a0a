import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js'
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js'
import { ToolListChangedNotificationSchema } from '@modelcontextprotocol/sdk/types.js'
import express, { type Response } from 'express'
import { describe, expect, test, vi } from 'vitest'
import { guardStreams } from '../../src/adapters/express.js'
import { type GuardOptions, getSignal, type StreamEnd, timeoutProfiles } from '../../src/index.js'

/** An MCP server with one tool, that answers when it is told to. */
function mcpServer(tool: () => Promise<string>) {
  const server = new McpServer({ name: 'test', version: '1' })
  server.registerTool('think', {}, async () => ({ content: [{ type: 'text', text: await tool() }] }))
  return server
}

async function listening(app: express.Express): Promise<AsyncDisposable & { url: string; server: Server }> {
  const server = createServer(app).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    server,
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

/** The official server behind the guard, without sessions: a new one for each request. */
function guardedServer(tool: () => Promise<string>, options: GuardOptions) {
  const app = express().use(guardStreams(options), express.json())
  app.all('/mcp', async (request, response) => {
    const transport = new StreamableHTTPServerTransport({ sessionIdGenerator: undefined } as never)
    await mcpServer(tool).connect(transport as never)
    await transport.handleRequest(request, response, request.body)
  })
  return listening(app)
}

/** A proxy in front of another MCP server. */
function guardedProxy(upstream: string, options: GuardOptions) {
  const app = express().use(guardStreams(options), express.json())
  app.all('/mcp', async (request, response) => {
    const { 'content-type': _type, ...headers } = request.headers
    const answer = await fetch(upstream, {
      method: request.method,
      headers: { accept: String(headers.accept), 'content-type': 'application/json' },
      signal: getSignal(request),
      ...(request.method === 'POST' && { body: JSON.stringify(request.body) }),
    })
    response.writeHead(answer.status, { 'content-type': answer.headers.get('content-type') ?? 'text/plain' })
    for await (const chunk of answer.body ?? []) response.write(chunk)
    response.end()
  })
  return listening(app)
}

async function connected(url: string) {
  const client = new Client({ name: 'test', version: '1' })
  await client.connect(new StreamableHTTPClientTransport(new URL(url)) as never)
  return client
}

/** The deadlines of a chat, by a shortened clock: a tool takes longer than any of them. Returns how to undo it. */
function shorten(profile: object): () => void {
  const before = { ...profile }
  Object.assign(profile, { firstByteMs: 150, inactivityMs: 150, totalMs: 300 })
  return () => void Object.assign(profile, before)
}

const later = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

describe('an MCP tool behind the guard', () => {
  test('may be silent for longer than any deadline of a chat', async () => {
    const ends: StreamEnd[] = []
    const lengthen = [timeoutProfiles.streaming, timeoutProfiles.advanced].map(shorten)
    try {
      await using server = await guardedServer(
        async () => {
          await later(600)
          return 'forty-two'
        },
        { writer: { heartbeatMs: 20 }, onEnd: (end) => void ends.push(end) },
      )
      const client = await connected(server.url)
      const { content } = await client.callTool({ name: 'think' })
      expect(content).toEqual([{ type: 'text', text: 'forty-two' }])
      await client.close()
      const call = ends.find(({ durationMs }) => durationMs > 500)
      expect(call).toMatchObject({ outcome: 'completed', sawTerminal: true })
      expect(call?.heartbeats).toBeGreaterThan(0)
    } finally {
      for (const back of lengthen) back()
    }
  })

  test('whose server breaks fails at once, with our sentence', async () => {
    let server: Server | undefined
    const broken = guardedServerThatBreaks(() => server)
    await using upstream = await broken
    server = upstream.server
    await using proxy = await guardedProxy(upstream.url, {})
    const client = await connected(proxy.url)
    await expect(client.callTool({ name: 'think' })).rejects.toThrow(
      'The upstream closed the connection before the answer was complete.',
    )
    await client.close()
  })

  test('a stream that a client subscribes to stays, and just ends', async () => {
    const ends: StreamEnd[] = []
    const app = express().use(
      guardStreams({ writer: { heartbeatMs: 20 }, onEnd: (end) => void ends.push(end) }),
    )
    app.get('/mcp', (_request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders()
      setTimeout(() => response.end(), 300)
    })
    await using server = await listening(app)
    const answer = await fetch(server.url, {
      headers: { accept: 'text/event-stream', 'mcp-protocol-version': '2025-06-18' },
    })
    const text = await answer.text()
    expect(text.replaceAll(':\n', '')).toBe('')
    expect(text).toContain(':\n')
    expect(ends).toMatchObject([{ outcome: 'completed' }])
  })
})

test('the stream that the official client subscribes to stays through a silence, and is opened again when it ends', async () => {
  const ends: StreamEnd[] = []
  const lengthen = Object.values(timeoutProfiles).map(shorten)
  try {
    const mcp = mcpServer(async () => 'forty-two')
    const transport = new StreamableHTTPServerTransport({ sessionIdGenerator: () => 'session' })
    await mcp.connect(transport as never)
    const subscribed: Response[] = []
    const app = express().use(
      guardStreams({ writer: { heartbeatMs: 20 }, onEnd: (end) => void ends.push(end) }),
      express.json(),
    )
    app.all('/mcp', async (request, response) => {
      const handled = transport.handleRequest(request, response, request.body)
      if (request.method === 'GET') subscribed.push(response)
      await handled
    })
    await using server = await listening(app)
    const client = new Client({ name: 'test', version: '1' })
    const errors: Error[] = []
    client.onerror = (error) => void errors.push(error)
    let changes = 0
    client.setNotificationHandler(ToolListChangedNotificationSchema, () => void changes++)
    const reconnectionOptions = {
      initialReconnectionDelay: 10,
      maxReconnectionDelay: 10,
      reconnectionDelayGrowFactor: 1,
      maxRetries: 2,
    }
    await client.connect(
      new StreamableHTTPClientTransport(new URL(server.url), { reconnectionOptions }) as never,
    )
    await vi.waitUntil(() => subscribed[0]?.headersSent)
    await later(500)
    mcp.sendToolListChanged()
    await vi.waitUntil(() => changes === 1)
    subscribed[0]?.end()
    await vi.waitUntil(() => subscribed[1]?.headersSent)
    mcp.sendToolListChanged()
    await vi.waitUntil(() => changes === 2)
    expect(subscribed).toHaveLength(2)
    expect(errors).toEqual([])
    const first = ends.find(({ heartbeats }) => heartbeats > 0)
    expect(first).toMatchObject({ outcome: 'completed', events: 1 })
    await client.close()
  } finally {
    for (const back of lengthen) back()
  }
})

/** It resets the connection of each tool that is called. */
function guardedServerThatBreaks(server: () => Server | undefined) {
  return guardedServer(
    async () => {
      await later(50)
      server()?.closeAllConnections()
      return 'never'
    },
    { skip: () => true },
  )
}
