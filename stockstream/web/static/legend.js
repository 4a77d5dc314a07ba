// The line above the chart: one candle in words, its state and its flags.

import * as format from "./format.js";

const STATES = {
  forming: "Its window is still open",
  closed: "Its window is over",
  amended: "Changed after it had closed: a trade came late",
};
const FLAGS = {
  partial: "Its first part was not seen",
  gap: "Ticks are known to be missing",
  corrected: "The vendor took cumulative volume back",
};

export const flagsOf = (candle) => Object.keys(FLAGS).filter((flag) => candle[flag]);

function item(name, value, className = "") {
  const element = document.createElement("span");
  const label = document.createElement("b");
  const text = document.createElement("span");
  label.textContent = name;
  text.textContent = value;
  element.append(label, text);
  element.className = className;
  return element;
}

function badge(name, title) {
  const element = document.createElement("em");
  element.textContent = name;
  element.title = title;
  element.dataset.flag = name;
  return element;
}

/** Show a candle, or nothing. `decimals` is that of its prices. */
export function render(element, candle, interval, decimals) {
  if (!candle) {
    element.replaceChildren();
    return;
  }
  const move = candle.close < candle.open ? "down" : "up";
  const percent = (candle.close / candle.open - 1) * 100;
  const label = document.createElement("time");
  label.textContent = format.window(candle.window_start_ms, interval);
  element.replaceChildren(
    label,
    ...["open", "high", "low", "close"].map((name) =>
      item(name[0].toUpperCase(), format.price(candle[name], decimals), move)),
    item("", `${format.signed(percent, 2)} %`, move),
    item("Vol", format.amount(candle.volume)),
    item("VWAP", candle.vwap === null ? "–" : format.price(candle.vwap, decimals), "more"),
    item("Trades", format.count(candle.trades), "more"),
    badge(candle.state, STATES[candle.state]),
    ...flagsOf(candle).map((flag) => badge(flag, FLAGS[flag])),
  );
}
