// A proxy as NestJS has it, behind the guard if GUARD has its options: node main.js UPSTREAM_URL
import 'reflect-metadata'
import type { AddressInfo, Socket } from 'node:net'
import { Readable } from 'node:stream'
import {
  Body,
  Controller,
  ForbiddenException,
  Get,
  Module,
  Post,
  Res,
  Sse,
  StreamableFile,
  UploadedFile,
  UseInterceptors,
} from '@nestjs/common'
import { NestFactory } from '@nestjs/core'
import { FileInterceptor, type NestExpressApplication } from '@nestjs/platform-express'
import type { Response } from 'express'
import { of } from 'rxjs'
import { guardStreams } from 'unhang/express'

const [upstreamUrl = ''] = process.argv.slice(2)

async function ask(body: unknown) {
  const upstream = await fetch(upstreamUrl, { method: 'POST', body: JSON.stringify(body) })
  return Readable.fromWeb(upstream.body as never)
}

/** With `@Post()`, an event stream has the status 201. */
@Controller()
class ChatController {
  @Post('v1/chat/completions')
  async write(@Body() body: unknown, @Res() response: Response): Promise<void> {
    const chunks = await ask(body)
    response.setHeader('Content-Type', 'text/event-stream')
    for await (const chunk of chunks) response.write(chunk)
    response.end()
  }

  @Post('piped/v1/chat/completions')
  async pipe(@Body() body: unknown, @Res() response: Response): Promise<void> {
    const chunks = await ask(body)
    response.setHeader('Content-Type', 'text/event-stream')
    chunks.pipe(response)
  }
}

@Controller()
class OtherController {
  @Get('v1/models')
  models() {
    return { object: 'list', data: [{ id: 'a-model' }] }
  }

  @Post('v1/embeddings')
  embeddings(@Body() body: { input: string }) {
    return { object: 'list', input: body.input }
  }

  @Get('report')
  report() {
    return new StreamableFile(Buffer.from('one\ntwo\n'), { type: 'text/csv' })
  }

  @Get('forbidden')
  forbidden() {
    throw new ForbiddenException('not for you')
  }

  @Sse('news')
  news() {
    return of({ data: { number: 1 } }, { data: { number: 2 } })
  }

  @Post('upload')
  @UseInterceptors(FileInterceptor('file'))
  upload(@UploadedFile() file: { originalname: string; buffer: Buffer }) {
    return { name: file.originalname, text: file.buffer.toString() }
  }
}

@Module({ controllers: [ChatController, OtherController] })
class AppModule {}

async function main() {
  const app = await NestFactory.create<NestExpressApplication>(AppModule, { logger: false })
  const { GUARD } = process.env
  if (GUARD) app.use(guardStreams(JSON.parse(GUARD)))
  app.useStaticAssets('.', { prefix: '/files/' })
  await app.listen(0, '127.0.0.1')
  const server = app.getHttpServer()
  server.on('upgrade', (_request: unknown, socket: Socket) => {
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n')
    socket.pipe(socket)
  })
  console.log((server.address() as AddressInfo).port)
}

main()
