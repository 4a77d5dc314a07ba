// Candles and volume, drawn by Lightweight Charts.

import {
  CandlestickSeries, ColorType, CrosshairMode, HistogramSeries, LineStyle, createChart, createSeriesMarkers,
} from "./vendor/lightweight-charts.standalone.production.mjs";
import * as format from "./format.js";
import { flagsOf } from "./legend.js";

const SHOWN_BARS = 120;
const AHEAD_BARS = 6;
const NEAR_THE_OLDEST = 30;

const seconds = (candle) => candle.window_start_ms / 1000;
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export class CandleChart {
  #chart;
  #bars;
  #volume;
  #markers;
  #element;
  #colors = {};
  #interval = "1m";
  #flagged = new Map();
  #decimals = 2;

  /** `onFocus` gets the window under the crosshair, or null; `onOldest` is called near the left end. */
  constructor(element, { onFocus, onOldest, onScroll }) {
    this.#element = element;
    this.#chart = createChart(element, {
      autoSize: true,
      crosshair: { mode: CrosshairMode.Normal },
      layout: { fontFamily: css("--font"), fontSize: 12, attributionLogo: true },
      localization: { locale: "en-US", timeFormatter: (time) => `${format.window(time * 1000, this.#interval)} UTC` },
      rightPriceScale: { borderVisible: false, scaleMargins: { top: 0.12, bottom: 0.24 } },
      timeScale: { borderVisible: false, rightOffset: AHEAD_BARS, secondsVisible: false, minBarSpacing: 1 },
    });
    this.#bars = this.#chart.addSeries(CandlestickSeries, { borderVisible: false, priceLineStyle: LineStyle.Dotted });
    this.#volume = this.#chart.addSeries(HistogramSeries, {
      priceScaleId: "volume", priceFormat: { type: "volume" }, lastValueVisible: false, priceLineVisible: false,
    });
    this.#volume.priceScale().applyOptions({ scaleMargins: { top: 0.82, bottom: 0 } });
    this.#markers = createSeriesMarkers(this.#bars, []);
    this.#chart.subscribeCrosshairMove(({ time }) => onFocus(time === undefined ? null : time * 1000));
    this.#chart.timeScale().subscribeVisibleLogicalRangeChange((range) => {
      if (!range) return;
      if (range.from < NEAR_THE_OLDEST) onOldest();
      onScroll(this.#chart.timeScale().scrollPosition() < -1);
    });
    this.paint();
  }

  get decimals() {
    return this.#decimals;
  }

  /** Take the colours of the page's theme. */
  paint() {
    this.#colors = { up: css("--up"), down: css("--down"), upSoft: css("--up-soft"), downSoft: css("--down-soft") };
    for (const flag of ["partial", "gap", "corrected"]) this.#colors[flag] = css(`--${flag}`);
    const { up, down } = this.#colors;
    this.#chart.applyOptions({
      layout: { background: { type: ColorType.Solid, color: css("--panel") }, textColor: css("--axis") },
      grid: { vertLines: { color: css("--grid") }, horzLines: { color: css("--grid") } },
      crosshair: { vertLine: { color: css("--cross"), labelBackgroundColor: css("--label") },
        horzLine: { color: css("--cross"), labelBackgroundColor: css("--label") } },
    });
    this.#bars.applyOptions({ upColor: up, downColor: down, wickUpColor: up, wickDownColor: down });
    this.#volume.setData(this.#volume.data().map((bar) => ({ ...bar, color: bar.customValues?.isUp
      ? this.#colors.upSoft : this.#colors.downSoft })));
    this.#drawMarkers();
  }

  /** Draw all candles anew, as another symbol or interval where `interval` is given. */
  show(candles, interval) {
    if (interval) {
      this.#interval = interval;
      this.#decimals = 2;
      this.#chart.applyOptions({ timeScale: { timeVisible: interval !== "1d" } });
    }
    const last = candles.at(-1);
    if (last) this.#precise(last);
    this.#flagged = new Map(candles.filter((candle) => flagsOf(candle).length).map((each) => [seconds(each), each]));
    this.#bars.setData(candles.map(barOf));
    this.#volume.setData(candles.map((candle) => this.#volumeOf(candle)));
    this.#drawMarkers();
    if (interval) this.#rewind(candles.length);
  }

  /** Draw one candle: the newest, or with `isOlder` one that is drawn already. */
  update(candle, isOlder) {
    this.#precise(candle);
    this.#bars.update(barOf(candle), isOlder);
    this.#volume.update(this.#volumeOf(candle), isOlder);
    const time = seconds(candle);
    const isFlagged = flagsOf(candle).length > 0;
    if (isFlagged || this.#flagged.has(time)) {
      if (isFlagged) this.#flagged.set(time, candle);
      else this.#flagged.delete(time);
      this.#drawMarkers();
    }
  }

  /** Put the crosshair on a candle, or away. */
  point(candle) {
    if (candle) this.#chart.setCrosshairPosition(candle.close, seconds(candle), this.#bars);
    else this.#chart.clearCrosshairPosition();
  }

  toNewest() {
    this.#chart.timeScale().scrollToPosition(AHEAD_BARS, false);
  }

  #rewind(size) {
    const bars = Math.min(SHOWN_BARS, Math.max(40, Math.floor(this.#element.clientWidth / 9)));
    this.#chart.priceScale("right").applyOptions({ autoScale: true });
    this.#chart.timeScale().setVisibleLogicalRange({ from: size - bars, to: size + AHEAD_BARS });
  }

  #precise(candle) {
    const { open, high, low, close } = candle;
    const decimals = Math.max(this.#decimals, ...[open, high, low, close].map(format.decimalsOf));
    const minMove = 10 ** -decimals;
    const current = this.#bars.options().priceFormat;
    if (current.type === "custom" && current.minMove === minMove) return;
    this.#decimals = decimals;
    const formatter = (price) => format.price(price, decimals);
    this.#bars.applyOptions({ priceFormat: { type: "custom", minMove, formatter } });
  }

  #volumeOf(candle) {
    const isUp = candle.close >= candle.open;
    const color = isUp ? this.#colors.upSoft : this.#colors.downSoft;
    return { time: seconds(candle), value: candle.volume ?? 0, color, customValues: { isUp } };
  }

  #drawMarkers() {
    const marks = [...this.#flagged.values()].sort((a, b) => a.window_start_ms - b.window_start_ms).map((candle) => ({
      time: seconds(candle), position: "aboveBar", shape: "circle", size: 0.6, color: this.#colors[flagsOf(candle)[0]],
    }));
    this.#markers.setMarkers(marks);
  }
}

function barOf(candle) {
  const { open, high, low, close } = candle;
  return { time: seconds(candle), open, high, low, close };
}
