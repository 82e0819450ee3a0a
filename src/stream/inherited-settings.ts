import { type GivenOptions, type StreamSettings, toSettings } from './settings.js'

const known = new WeakMap<StreamSettings, WeakMap<GivenOptions, StreamSettings>>()

/**
 * The options of a guard are the defaults of the guards and routes inside it, option by option.
 *
 * @param outer the options of the guard, as they were given
 */
export function withDefaults<Settings extends StreamSettings>(
  own: Settings,
  outer: GivenOptions | undefined,
): Settings {
  if (!outer) return own
  const inherited = known.get(own) ?? new WeakMap<GivenOptions, StreamSettings>()
  known.set(own, inherited)
  const settings = inherited.get(outer) ?? merge(own, outer)
  inherited.set(outer, settings)
  return settings as Settings
}

function merge(own: StreamSettings, outer: GivenOptions): StreamSettings {
  const { given, timeouts } = own
  const cleanup = given.cleanup && outer.cleanup ? filled(given.cleanup, outer.cleanup) : undefined
  const options = {
    ...filled(given, outer),
    writer: filled(given.writer, outer.writer),
    relay: filled(given.relay, outer.relay),
    ...(cleanup && { cleanup }),
    timeouts,
    // Timeouts have layers: those of two guards that contradict each other are not a mistake of either.
    outer,
  }
  return { ...own, ...toSettings(options) }
}

/** `undefined` means not set. */
function filled<Options extends object>(own: Options | undefined, defaults: Options | undefined): Options {
  const set = Object.entries(own ?? {}).filter(([, value]) => value !== undefined)
  return { ...defaults, ...Object.fromEntries(set) } as Options
}
