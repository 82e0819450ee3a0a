import { type StreamOptions, type StreamSettings, toSettings } from './settings.js'

const known = new WeakMap<StreamSettings, WeakMap<StreamOptions, StreamSettings>>()

/**
 * The options of a guard are the defaults of what stands inside it, option by option.
 *
 * @param outer the options of the guard, as they were given
 */
export function withDefaults<Settings extends StreamSettings>(
  own: Settings,
  outer: StreamOptions | undefined,
): Settings {
  if (!outer) return own
  const inherited = known.get(own) ?? new WeakMap<StreamOptions, StreamSettings>()
  known.set(own, inherited)
  const settings = inherited.get(outer) ?? merge(own, outer)
  inherited.set(outer, settings)
  return settings as Settings
}

function merge(own: StreamSettings, outer: StreamOptions): StreamSettings {
  const { given } = own
  const options = { ...filled(given, outer), writer: filled(given.writer, outer.writer) }
  options.relay = filled(given.relay, outer.relay)
  if (given.cleanup && outer.cleanup) options.cleanup = filled(given.cleanup, outer.cleanup)
  const { timeouts } = own
  const outerTimeouts = timeouts === undefined ? undefined : outer.timeouts
  return {
    ...own,
    ...toSettings(options),
    timeouts: timeouts ?? outer.timeouts,
    outerTimeouts,
    given: options,
  }
}

/** `undefined` means not set. */
function filled<Options extends object>(own: Options | undefined, defaults: Options | undefined): Options {
  const set = Object.entries(own ?? {}).filter(([, value]) => value !== undefined)
  return { ...defaults, ...Object.fromEntries(set) } as Options
}
