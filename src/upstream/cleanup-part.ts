/** One thing of an exchange that can be released. */
export interface CleanupPart {
  readonly closed: boolean
  /**
   * Errors that come late must find a listener.
   *
   * @param stopping whether the part is going to be destroyed
   */
  absorbErrors?(stopping: boolean): void
  /** Reads on to the end; rejects when there is too much of it. */
  finish(): Promise<void>
  stop(reason: Error | undefined): Promise<'destroy' | 'cancel' | 'unreachable'>
  /** Not set: as soon as it has been stopped. */
  whenClosed?(): Promise<void>
  /** Cuts the socket underneath. */
  force?(): void
}

/** The maximum that is read of a response that should have ended. */
export const maxTail = 64 * 1024
