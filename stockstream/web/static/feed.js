// One connection to /stream, which comes back by itself.

const RETRY_MS = { least: 1000, greatest: 15_000 };
const ASLEEP_MS = 45_000;

export class Feed {
  #source = null;
  #url = "";
  #timer = 0;
  #delayMs = RETRY_MS.least;
  #heardMs = 0;
  #handlers;

  /** `handlers`: snapshot, latest, candle, removed, each with what the event holds, and state with its name. */
  constructor(handlers) {
    this.#handlers = handlers;
    // A machine that slept may hold a connection that ended long ago, and nobody told it.
    const wake = () => {
      if (document.visibilityState === "visible" && Date.now() - this.#heardMs > ASLEEP_MS) this.#connect();
    };
    document.addEventListener("visibilitychange", wake);
    addEventListener("online", wake);
  }

  /** Follow the prices of all symbols, and the candles of one if there is one. */
  open({ symbol, interval, session }) {
    const query = symbol ? new URLSearchParams({ symbols: symbol, interval, session, latest: "all" }) : "";
    this.#url = `stream?${query}`;
    this.#delayMs = RETRY_MS.least;
    this.#connect();
  }

  #connect() {
    clearTimeout(this.#timer);
    this.#source?.close();
    const source = new EventSource(this.#url);
    this.#source = source;
    for (const kind of ["snapshot", "latest", "candle", "removed"]) {
      source.addEventListener(kind, (event) => {
        this.#heard();
        this.#handlers[kind](JSON.parse(event.data));
      });
    }
    source.onopen = () => this.#heard();
    source.onerror = () => {
      this.#handlers.state("reconnecting");
      // The browser tries again after a lost connection, but never after an answer that is no stream (503).
      if (source.readyState !== EventSource.CLOSED || source !== this.#source) return;
      this.#timer = setTimeout(() => this.#connect(), this.#delayMs * (0.5 + Math.random() / 2));
      this.#delayMs = Math.min(RETRY_MS.greatest, this.#delayMs * 2);
    };
  }

  #heard() {
    this.#heardMs = Date.now();
    this.#delayMs = RETRY_MS.least;
    this.#handlers.state("live");
  }
}
