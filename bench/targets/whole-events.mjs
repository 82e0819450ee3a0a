const lineFeed = 10
const nothing = Buffer.alloc(0)
const last = Buffer.from('data: [DONE]\n\n')

/** The events of one stream as they are, whole ones alone. It does not see what an upstream says of its own failure. */
export class WholeEvents {
  events = 0
  isComplete = false
  #rest = nothing

  get isBetween() {
    return this.#rest.length === 0
  }

  take(bytes) {
    const all = this.#rest.length > 0 ? Buffer.concat([this.#rest, bytes]) : bytes
    const { length } = all
    const end =
      all[length - 1] === lineFeed && all[length - 2] === lineFeed ? length : all.lastIndexOf('\n\n') + 2
    if (end < 2) {
      this.#rest = all
      return nothing
    }
    this.#rest = end === length ? nothing : all.subarray(end)
    for (let at = all.indexOf('\n\n'); at !== -1 && at < end; at = all.indexOf('\n\n', at + 2)) this.events++
    // A bracket, before the two line ends.
    if (all[end - 3] === 0x5d) this.isComplete ||= all.subarray(end - last.length, end).equals(last)
    return end === length ? all : all.subarray(0, end)
  }
}
