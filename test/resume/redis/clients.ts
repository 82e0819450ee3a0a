import { Redis as IORedis, Cluster as IORedisCluster } from 'ioredis'
import { Redis as IORedis5, Cluster as IORedis5Cluster } from 'ioredis5'
import { createClient, createCluster } from 'redis'
import { createClient as createClient4, createCluster as createCluster4 } from 'redis4'
import { createClient as createClient5, createCluster as createCluster5 } from 'redis5'
import type { IORedisLike, NodeRedisLike } from '../../../src/resume/redis/clients.js'

/** A connected client, and a function that disconnects it. */
export interface ConnectedClient {
  readonly client: NodeRedisLike | IORedisLike
  close(): void
}

const ignored = () => {}
const rootNodes = (ports: readonly number[]) => ports.map((port) => ({ url: `redis://127.0.0.1:${port}` }))
const hosts = (ports: readonly number[]) => ports.map((port) => ({ host: '127.0.0.1', port }))

type Connect = (port: number) => Promise<ConnectedClient>
type ConnectCluster = (ports: readonly number[]) => Promise<ConnectedClient>

/** Every client that the store promises to work with, as its own documentation makes it. */
export const clients: Readonly<Record<string, Connect>> = {
  'redis 6': async (port) => {
    const client = createClient({ url: `redis://127.0.0.1:${port}` }).on('error', ignored)
    await client.connect()
    return { client, close: () => client.destroy() }
  },
  'redis 5': async (port) => {
    const client = createClient5({ url: `redis://127.0.0.1:${port}` }).on('error', ignored)
    await client.connect()
    return { client, close: () => client.destroy() }
  },
  'redis 4': async (port) => {
    const client = createClient4({ url: `redis://127.0.0.1:${port}` }).on('error', ignored)
    await client.connect()
    return { client, close: () => void client.disconnect().catch(ignored) }
  },
  'ioredis 6': async (port) => {
    const client = new IORedis(port, '127.0.0.1').on('error', ignored)
    return { client, close: () => client.disconnect() }
  },
  'ioredis 5': async (port) => {
    const client = new IORedis5(port, '127.0.0.1').on('error', ignored)
    return { client, close: () => client.disconnect() }
  },
}

export const clusterClients: Readonly<Record<string, ConnectCluster>> = {
  'redis 6': async (ports) => {
    const client = createCluster({ rootNodes: rootNodes(ports) }).on('error', ignored)
    await client.connect()
    return { client, close: () => client.destroy() }
  },
  'redis 5': async (ports) => {
    const client = createCluster5({ rootNodes: rootNodes(ports) }).on('error', ignored)
    await client.connect()
    return { client, close: () => client.destroy() }
  },
  'redis 4': async (ports) => {
    const client = createCluster4({ rootNodes: rootNodes(ports) }).on('error', ignored)
    await client.connect()
    return { client, close: () => void client.disconnect().catch(ignored) }
  },
  'ioredis 6': async (ports) => {
    const client = new IORedisCluster(hosts(ports)).on('error', ignored)
    return { client, close: () => client.disconnect() }
  },
  'ioredis 5': async (ports) => {
    const client = new IORedis5Cluster(hosts(ports)).on('error', ignored)
    return { client, close: () => client.disconnect() }
  },
}

/** @throws Error if there is none */
export function clientNamed(name: string): Connect {
  const connect = clients[name]
  if (!connect) throw new Error(`there is no client ${name}`)
  return connect
}

/** A client of one server, or of a cluster: `redis 6` or `a cluster, with redis 6`. */
export async function connectTo(name: string, ports: readonly number[]): Promise<ConnectedClient> {
  const connectCluster = clusterClients[name.replace('a cluster, with ', '')]
  if (name.startsWith('a cluster') && connectCluster) return connectCluster(ports)
  return clientNamed(name)(ports[0] ?? 0)
}
