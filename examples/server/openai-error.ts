/** An error that `respondWithError` shows to the client as it is. */
export function openAIError(status: number, message: string): Error {
  return Object.assign(new Error(message), { expose: true, status, code: codes[status] ?? 'invalid_request' })
}

const codes: Record<number, string> = { 401: 'invalid_api_key', 403: 'forbidden', 404: 'not_found' }
