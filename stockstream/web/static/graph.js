// What the chart shows: the series that is followed, its history, and the candle that is looked at.

import { NoHistory, PAGE, fetchCandles } from "./history.js";
import { Series } from "./series.js";

const RETRY_MS = 3000;

export class Graph {
  #chart;
  #say;
  #redraw;
  #selected = null;
  #series = new Series();
  #pending = new AbortController();
  #isDrawn = false;
  #isFetching = false;
  #hasOldest = false;
  #focusMs = null;

  /** `say` gets what is wrong, or ""; `redraw` is called whenever `looked` may be another candle. */
  constructor(chart, { say, redraw }) {
    this.#chart = chart;
    this.#say = say;
    this.#redraw = redraw;
  }

  get series() {
    return this.#series;
  }

  /** The candle under the crosshair, else the newest. */
  get looked() {
    return this.#series.at(this.#focusMs) ?? this.#series.last;
  }

  /** Show another symbol, interval or session; what it holds comes with the next snapshot. */
  open(selected) {
    this.#pending.abort();
    this.#pending = new AbortController();
    this.#selected = { ...selected };
    this.#series = new Series();
    this.#isDrawn = this.#isFetching = this.#hasOldest = false;
    this.#focusMs = null;
    this.#say("");
    this.#chart.show([], selected.interval);
    this.#redraw();
  }

  /** Take in the recent candles, and fetch those before them: the break may have been longer than what is held. */
  snapshot(candles) {
    const knownMs = this.#series.last?.window_start_ms;
    this.#series.merge(candles);
    this.#fetchNewest(knownMs);
  }

  /** Take in one state of one candle. */
  put(candle) {
    const { symbol, interval, session } = this.#selected;
    if (candle.symbol !== symbol || candle.interval !== interval || candle.session !== session) return;
    const change = this.#series.put(candle);
    if (change === null || this.#isFetching) return; // the history is drawn in one, with what came meanwhile
    if (change === "between" || !this.#isDrawn) this.#draw();
    else this.#chart.update(candle, change === "older");
    this.#say("");
    this.#redraw();
  }

  focus(startMs) {
    this.#focusMs = startMs;
    this.#redraw();
  }

  /** Look at the candle `step` places from the one that is looked at; 0 is the newest one again. */
  step(step) {
    const candles = this.#series.candles;
    const at = candles.indexOf(this.looked) + step;
    const candle = step === 0 ? null : candles[Math.min(candles.length - 1, Math.max(0, at))];
    this.#chart.point(candle ?? null);
    this.focus(candle?.window_start_ms ?? null);
  }

  async fetchOlder() {
    if (this.#isFetching || this.#hasOldest || !this.#isDrawn) return;
    await this.#fetch(this.#series.candles[0].window_start_ms, (older) => {
      this.#hasOldest = older.length === 0;
      this.#series.merge(older);
    });
  }

  #fetchNewest(knownMs) {
    return this.#fetch(undefined, (newest) => {
      const isHole = newest.length === PAGE && newest[0].window_start_ms > knownMs;
      if (isHole) {
        this.#series = new Series();
        this.#hasOldest = false;
      }
      this.#series.merge(newest);
      this.#say(this.#series.size ? "" : "No candles yet");
    });
  }

  async #fetch(endMs, take) {
    const { signal } = this.#pending;
    this.#isFetching = true;
    try {
      const candles = await fetchCandles(this.#selected, endMs, signal);
      if (signal.aborted) return;
      take(candles);
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof NoHistory)) throw error;
      this.#say(`No history: ${error.message}`);
      setTimeout(() => signal.aborted || this.#fetch(endMs, take), RETRY_MS);
    }
    this.#isFetching = false;
    this.#draw();
    this.#redraw();
  }

  #draw() {
    if (this.#series.size === 0) return;
    this.#chart.show(this.#series.candles, this.#isDrawn ? undefined : this.#selected.interval);
    this.#isDrawn = true;
  }
}
