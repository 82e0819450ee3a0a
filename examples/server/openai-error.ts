/** An error that `respondWithError` shows to the client as it is. */
export function openAIError(status: number, message: string): Error {
  const code = status === 401 ? 'invalid_api_key' : status === 404 ? 'not_found' : 'invalid_request'
  return Object.assign(new Error(message), { expose: true, status, code })
}
