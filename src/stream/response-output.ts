import type { ServerResponse } from 'node:http'
import { isClosed, isGone, wasLeft } from '../client/response.js'

/** An output into a response of Node: what every kind of it knows of its client. */
export abstract class ResponseOutput {
  protected readonly response: ServerResponse

  constructor(response: ServerResponse) {
    this.response = response
  }

  get gone(): boolean {
    return isGone(this.response)
  }

  get left(): boolean {
    return isClosed(this.response) && wasLeft(this.response)
  }
}
