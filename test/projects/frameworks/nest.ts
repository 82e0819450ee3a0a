// On Express, or on Fastify if PLATFORM says so.
import 'reflect-metadata'
import type { ServerResponse } from 'node:http'
import { Body, Controller, Get, HttpCode, Module, Post, Res, Sse } from '@nestjs/common'
import { NestFactory } from '@nestjs/core'
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify'
import { from, map } from 'rxjs'
import { chunksOf, eventsOf, guard, listens, page } from './shared.js'

const isFastify = process.env.PLATFORM === 'fastify'

/** The response of a platform: Node's own response, or Fastify's reply. */
type Reply = ServerResponse & { raw: ServerResponse; hijack(): void }

@Controller()
class AppController {
  /** The response of Node, of whichever platform. */
  @Post('written/v1/chat/completions')
  @HttpCode(200)
  async write(@Body() body: unknown, @Res() response: Reply): Promise<void> {
    if (isFastify) response.hijack()
    const raw = isFastify ? response.raw : response
    raw.setHeader('Content-Type', 'text/event-stream')
    for await (const chunk of chunksOf(body)) raw.write(chunk)
    raw.end()
  }

  @Sse('sse/v1/chat/completions', { method: 1 } as never)
  events(@Body() body: unknown) {
    return from(eventsOf(body) as AsyncIterable<string>).pipe(map((data) => ({ data })))
  }

  @Get('json')
  json() {
    return { a: 1 }
  }

  @Get('page')
  page() {
    return page
  }

  @Post('echo')
  echo(@Body() body: unknown) {
    return body
  }

  @Get('empty')
  @HttpCode(204)
  empty() {}

  @Get('fails')
  fails() {
    throw new Error('a page that fails')
  }
}

@Module({ controllers: [AppController] })
class AppModule {}

async function main() {
  const options = { logger: false } as const
  const app = isFastify
    ? await NestFactory.create<NestFastifyApplication>(AppModule, new FastifyAdapter(), options)
    : await NestFactory.create(AppModule, options)
  if (guard && isFastify)
    await (app as NestFastifyApplication).register((await import('unhang/fastify')).default as never, guard)
  else if (guard) app.use((await import('unhang/express')).guardStreams(guard))
  await app.listen(0, '127.0.0.1')
  listens(app.getHttpServer())
}

main()
