import express from 'express'
import { createProxyMiddleware } from 'http-proxy-middleware'

const app = express()

app.use(createProxyMiddleware({ target: 'http://127.0.0.1:41079', pathFilter: '/v1' }))

app.listen(0, '127.0.0.1', function () {
  console.log(this.address().port)
})
