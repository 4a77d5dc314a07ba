// One connection to /stream, which comes back by itself. Server-Sent Events by fetch: EventSource cannot send a key.

import { forgetKey, headers } from "./key.js";

const RETRY_MS = { least: 1000, greatest: 15_000 };
const ASLEEP_MS = 45_000;
const KINDS = ["snapshot", "latest", "candle", "removed"];
const DENIED = [401, 403];

export class Feed {
  #stop = null;
  #url = "";
  #lastId = "";
  #timer = 0;
  #delayMs = RETRY_MS.least;
  #heardMs = 0;
  #handlers;

  /** `handlers`: snapshot, latest, candle, removed, each with what the event holds; state with its name, denied with why. */
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
    this.#lastId = "";
    this.#delayMs = RETRY_MS.least;
    this.#connect();
  }

  async #connect() {
    clearTimeout(this.#timer);
    this.#stop?.abort();
    const { signal } = this.#stop = new AbortController();
    try {
      const resume = this.#lastId ? { "Last-Event-ID": this.#lastId } : {};
      const answer = await fetch(this.#url, { headers: { ...headers(), ...resume }, cache: "no-store", signal });
      if (DENIED.includes(answer.status)) {
        const { detail } = await answer.json();
        forgetKey();
        this.#handlers.state("denied");
        this.#handlers.denied(detail);
        return;
      }
      if (answer.ok) {
        for await (const block of blocksOf(answer.body)) {
          if (signal.aborted) return; // what an event did may have opened another
          this.#take(block);
        }
      }
    } catch {
      // The connection is lost, or never was.
    }
    if (signal.aborted) return;
    this.#handlers.state("reconnecting");
    this.#timer = setTimeout(() => this.#connect(), this.#delayMs * (0.5 + Math.random() / 2));
    this.#delayMs = Math.min(RETRY_MS.greatest, this.#delayMs * 2);
  }

  #take(block) {
    this.#heardMs = Date.now();
    this.#delayMs = RETRY_MS.least;
    this.#handlers.state("live");
    const event = Object.fromEntries(block.split("\n").map((line) => {
      const [, name, value] = /^([^:]*):? ?(.*)$/s.exec(line);
      return [name, value];
    }));
    if (event.id) this.#lastId = event.id;
    if (!KINDS.includes(event.event)) return;
    const data = JSON.parse(event.data);
    // What fails to be shown is an error of the page's, and no reason to connect again.
    try {
      this.#handlers[event.event](data);
    } catch (error) {
      reportError(error);
    }
  }
}

/** The text between blank lines, as it comes; each event of the server has one line of data. */
async function* blocksOf(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    yield* blocks;
  }
}
