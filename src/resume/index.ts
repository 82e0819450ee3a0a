export { createResume, type Resume, type ResumeOptions, type StreamState } from './create-resume.js'
export type { ResumeHandler } from './handler.js'
export { type MemoryStoreOptions, memoryStore } from './memory-store.js'
export type { IORedisLike, NodeRedisLike } from './redis/clients.js'
export { redisStore } from './redis/store.js'
export type { RedisStoreOptions } from './redis/store-options.js'
export type { RejoinOptions } from './rejoin.js'
export type {
  Followed,
  FoundStream,
  RecordedStream,
  Recorder,
  RecorderEvents,
  ResumeStore,
  StoredEnd,
} from './resume-store.js'
export type { StopOptions } from './stop.js'
