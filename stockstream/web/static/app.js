// Wires the page: what is selected, the stream, and what shows it.

import { CandleChart } from "./chart.js";
import { Feed } from "./feed.js";
import * as format from "./format.js";
import { Graph } from "./graph.js";
import { KeyDialog } from "./key.js";
import { render as renderLegend } from "./legend.js";
import { WatchList, changeOf, venueOf } from "./watchlist.js";

const $ = (id) => document.getElementById(id);
const STATES = { connecting: "Connecting", live: "Live", reconnecting: "Reconnecting", denied: "No access" };
const INTERVALS = ["1m", "5m", "1d"];

const selected = { symbol: "", interval: "1m", session: "regular", ...fromAddress() };
let frame = 0;

const watch = new WatchList((symbol) => select({ symbol }));
const chart = new CandleChart($("chart"), {
  onFocus: (startMs) => graph.focus(startMs),
  onOldest: () => graph.fetchOlder(),
  onScroll: (isAway) => { $("newest").hidden = !isAway; },
});
const graph = new Graph(chart, { say, redraw: drawSoon });
const keyDialog = new KeyDialog(() => select({}));
const feed = new Feed({
  snapshot({ latest, candles }) {
    for (const each of latest) watch.put(each);
    if (!selected.symbol) selectFirst();
    else graph.snapshot(candles.flatMap(({ symbol, interval, session, candles: states }) =>
      (symbol === selected.symbol && interval === selected.interval && session === selected.session ? states : [])));
    drawSoon();
  },
  latest(latest) {
    if (!watch.put(latest)) return;
    if (!selected.symbol) selectFirst();
    if (latest.symbol === selected.symbol) drawSoon();
  },
  candle: (candle) => graph.put(candle),
  removed: ({ symbol }) => watch.remove(symbol),
  denied: (why) => keyDialog.ask(why),
  state(name) {
    const element = $("connection");
    if (element.dataset.state === name) return;
    element.dataset.state = name;
    element.lastElementChild.textContent = STATES[name];
  },
});

function fromAddress() {
  const [symbol, interval, session] = location.hash.slice(1).split("|").map(decodeURIComponent);
  return {
    ...(symbol && { symbol }),
    ...(INTERVALS.includes(interval) && { interval }),
    ...(session === "extended" && { session }),
  };
}

function selectFirst() {
  if (watch.first) select({ symbol: watch.first });
}

function select(change) {
  Object.assign(selected, change);
  const { symbol, interval, session } = selected;
  if (symbol) history.replaceState(null, "", `#${[symbol, interval, session].map(encodeURIComponent).join("|")}`);
  for (const [group, value] of [[$("intervals"), interval], [$("sessions"), session]]) {
    for (const button of group.children) button.setAttribute("aria-checked", button.dataset.value === value);
  }
  watch.select(symbol);
  graph.open(selected);
  feed.open(selected);
}

function say(text) {
  $("notice").textContent = text;
  $("notice").hidden = !text;
}

function drawSoon() {
  frame ||= requestAnimationFrame(draw);
}

function draw() {
  frame = 0;
  drawQuote(watch.latest(selected.symbol));
  renderLegend($("legend"), graph.looked, selected.interval, chart.decimals);
  const { series } = graph;
  $("range").textContent = series.size
    ? `${format.things(series.size, "candle")} since ${format.window(series.first.window_start_ms, selected.interval)} UTC` : "";
}

function drawQuote(latest) {
  $("symbol").textContent = selected.symbol || "–";
  $("venue").textContent = latest ? venueOf(latest) : "";
  if (!latest) {
    $("price").textContent = "–";
    $("change").textContent = "";
    $("sides").replaceChildren();
    document.title = "stockstream";
    return;
  }
  const decimals = Math.max(chart.decimals, format.decimalsOf(latest.price));
  const price = format.price(latest.price, decimals);
  const { text, move } = changeOf(latest);
  $("price").textContent = price;
  $("price").dataset.move = move;
  $("change").textContent = move === "none" ? "" : `${format.signed(latest.change, decimals)}  ${text}`;
  $("change").dataset.move = move;
  $("sides").replaceChildren(...sides(latest, decimals));
  document.title = `${price} ${latest.symbol} · stockstream`;
}

function sides(latest, decimals) {
  return [["Bid", latest.bid], ["Ask", latest.ask], ["Day volume", latest.day_volume]]
    .filter(([, value]) => value !== null)
    .map(([name, value]) => {
      const pair = document.createElement("div");
      const [term, detail] = [document.createElement("dt"), document.createElement("dd")];
      term.textContent = name;
      detail.textContent = name === "Day volume" ? format.amount(value) : format.price(value, decimals);
      pair.append(term, detail);
      return pair;
    });
}

function tick() {
  $("clock").textContent = `${format.clock(Date.now())} UTC`;
}

const KEYS = {
  "/": () => watch.focusFilter(),
  1: () => select({ interval: "1m" }),
  5: () => select({ interval: "5m" }),
  d: () => select({ interval: "1d" }),
  t: () => dispatchEvent(new Event("toggle-theme")),
};
const STEPS = { ArrowLeft: -1, ArrowRight: 1, PageUp: -20, PageDown: 20, Home: -Infinity, End: Infinity, Escape: 0 };

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input")) return;
  if (event.target === $("chart") && event.key in STEPS) graph.step(STEPS[event.key]);
  else if (event.key in KEYS) KEYS[event.key]();
  else return;
  event.preventDefault();
});
for (const [group, name] of [[$("intervals"), "interval"], [$("sessions"), "session"]]) {
  group.addEventListener("click", ({ target }) => {
    if (target.dataset.value && target.dataset.value !== selected[name]) select({ [name]: target.dataset.value });
  });
}
$("theme").addEventListener("click", () => dispatchEvent(new Event("toggle-theme")));
$("newest").addEventListener("click", () => chart.toNewest());
addEventListener("theme", () => chart.paint());
setInterval(tick, 1000);
tick();
select({});
