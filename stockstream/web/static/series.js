// The candles of one symbol, interval and session: of each window the state with the greatest version.

/** Whether version `a` is greater than `b`: decimal integers as text, too long for a number. */
export function isNewer(a, b) {
  return a.length === b.length ? a > b : a.length > b.length;
}

export class Series {
  #windows = new Map();
  #oldest = Infinity;
  #newest = -Infinity;

  get size() {
    return this.#windows.size;
  }

  /** The candles, ascending. */
  get candles() {
    return [...this.#windows.values()].sort((a, b) => a.window_start_ms - b.window_start_ms);
  }

  get first() {
    return this.#windows.get(this.#oldest);
  }

  get last() {
    return this.#windows.get(this.#newest);
  }

  at(startMs) {
    return this.#windows.get(startMs);
  }

  /** Take in one state: "last" or "older" is what it changed, "between" a window that was missing, else null. */
  put(candle) {
    const start = candle.window_start_ms;
    const known = this.#windows.get(start);
    if (known && !isNewer(candle.version, known.version)) return null;
    this.#windows.set(start, candle);
    this.#oldest = Math.min(this.#oldest, start);
    if (start >= this.#newest) {
      this.#newest = start;
      return "last";
    }
    return known ? "older" : "between";
  }

  /** Take in many states; whether any of them changed something. */
  merge(candles) {
    return candles.filter((candle) => this.put(candle) !== null).length > 0;
  }
}
