// The watch list: one row a symbol, of which only what changed is touched, once a frame.

import * as format from "./format.js";
import { isNewer } from "./series.js";

const AGE_EVERY_MS = 1000;
const OLD_MS = 60_000;

class Row {
  constructor(symbol) {
    this.symbol = symbol;
    this.decimals = 2;
    this.element = document.createElement("li");
    this.element.id = `row-${symbol}`;
    this.element.setAttribute("role", "option");
    this.element.dataset.symbol = symbol;
    this.element.innerHTML =
      '<span class="id"><b></b><small></small></span><span class="last"><b></b><small><i></i><time></time></small></span>';
    [this.name, this.price] = this.element.querySelectorAll("b");
    [this.venue] = this.element.querySelectorAll("small");
    this.change = this.element.querySelector("i");
    this.age = this.element.querySelector("time");
    this.name.textContent = symbol;
  }

  /** Draw the newest price. */
  draw(latest) {
    const before = this.shown;
    this.shown = latest;
    this.decimals = Math.max(this.decimals, format.decimalsOf(latest.price));
    setText(this.price, format.price(latest.price, this.decimals));
    setText(this.venue, venueOf(latest));
    const { text, move } = changeOf(latest);
    setText(this.change, text);
    this.change.dataset.move = move;
    if (before && before.price !== latest.price) this.#flash(latest.price > before.price ? "up" : "down");
  }

  /** Draw how old the price is. */
  drawAge(nowMs) {
    const ageMs = nowMs - this.shown.happened_ms;
    setText(this.age, format.age(ageMs));
    this.element.classList.toggle("old", ageMs > OLD_MS);
  }

  #flash(direction) {
    // Two names of one animation: to change the name starts it anew, without a layout in between.
    this.turn = this.turn === "a" ? "b" : "a";
    this.price.dataset.flash = `${direction}-${this.turn}`;
  }
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export const venueOf = (latest) =>
  [latest.exchange ?? latest.source, latest.currency, latest.session === "extended" ? "extended" : null]
    .filter(Boolean).join(" · ");

/** A change as text with its direction; sources that do not tell it send zeros. */
export function changeOf(latest) {
  if (latest.change === 0 && latest.change_percent === 0) return { text: "–", move: "none" };
  const move = latest.change_percent < 0 ? "down" : "up";
  return { text: `${format.signed(latest.change_percent, 2)} %`, move };
}

export class WatchList {
  #rows = new Map();
  #latest = new Map();
  #dirty = new Set();
  #visible = new Set();
  #frame = 0;
  #filter = "";
  #selected = "";
  #active = "";
  #list = document.getElementById("rows");
  #input = document.getElementById("filter");
  #count = document.getElementById("count");
  #empty = document.getElementById("empty");
  #observer;
  #onSelect;

  /** `onSelect` is called with the symbol that was chosen. */
  constructor(onSelect) {
    this.#onSelect = onSelect;
    this.#observer = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) {
        const row = this.#rows.get(target.dataset.symbol);
        if (!isIntersecting || !row) this.#visible.delete(row);
        else this.#visible.add(row) && row.shown && row.drawAge(Date.now());
      }
    }, { root: this.#list });
    setInterval(() => this.#drawAges(), AGE_EVERY_MS);
    this.#list.addEventListener("click", (event) => this.#choose(event.target.closest("li")?.dataset.symbol));
    this.#list.addEventListener("keydown", (event) => this.#key(event));
    this.#input.addEventListener("input", () => this.#search(this.#input.value));
    this.#input.addEventListener("keydown", (event) => this.#inputKey(event));
  }

  latest(symbol) {
    return this.#latest.get(symbol);
  }

  get first() {
    return [...this.#latest.keys()].sort()[0];
  }

  /** Take in a price; older ones than the known one are ignored. Whether it was taken. */
  put(latest) {
    const known = this.#latest.get(latest.symbol);
    if (known && !isNewer(latest.version, known.version)) return false;
    latest.happened_ms = Date.now() - latest.age_ms; // by this machine's clock, right or wrong
    this.#latest.set(latest.symbol, latest);
    this.#mark(latest.symbol);
    return true;
  }

  remove(symbol) {
    this.#latest.delete(symbol);
    this.#mark(symbol);
  }

  select(symbol) {
    for (const [each, on] of [[this.#selected, false], [symbol, true]]) {
      this.#rows.get(each)?.element.setAttribute("aria-selected", on);
    }
    this.#selected = symbol;
    this.#activate(symbol);
  }

  focusFilter() {
    this.#input.focus();
    this.#input.select();
  }

  #mark(symbol) {
    this.#dirty.add(symbol);
    this.#frame ||= requestAnimationFrame(() => this.#render());
  }

  #render() {
    this.#frame = 0;
    let isNew = false;
    for (const symbol of this.#dirty) {
      const latest = this.#latest.get(symbol);
      let row = this.#rows.get(symbol);
      if (!latest) {
        row?.element.remove();
        this.#visible.delete(row);
        this.#rows.delete(symbol);
        continue;
      }
      if (!row) {
        row = new Row(symbol);
        row.element.setAttribute("aria-selected", symbol === this.#selected);
        row.element.hidden = !this.#matches(symbol);
        this.#rows.set(symbol, row);
        this.#observer.observe(row.element);
        isNew = true;
      }
      row.draw(latest);
      if (this.#visible.has(row)) row.drawAge(Date.now());
    }
    this.#dirty.clear();
    if (isNew) this.#arrange();
    this.#drawCount();
  }

  /** Put new rows where they belong, by symbol; those in place are not touched. */
  #arrange() {
    let place = this.#list.firstElementChild;
    for (const symbol of [...this.#rows.keys()].sort()) {
      const { element } = this.#rows.get(symbol);
      if (element === place) place = place.nextElementSibling;
      else this.#list.insertBefore(element, place);
    }
  }

  #drawAges() {
    const nowMs = Date.now();
    if (document.visibilityState === "visible") for (const row of this.#visible) row.drawAge(nowMs);
  }

  #drawCount() {
    const total = this.#rows.size;
    const shown = this.#filter ? this.#shownRows().length : total;
    const all = format.things(total, "symbol");
    setText(this.#count, shown === total ? all : `${shown} of ${all}`);
    this.#empty.hidden = shown > 0;
    setText(this.#empty, total ? "No symbol matches" : "Waiting for the first price");
  }

  #matches(symbol) {
    return symbol.toUpperCase().includes(this.#filter);
  }

  #search(text) {
    this.#filter = text.trim().toUpperCase();
    for (const [symbol, row] of this.#rows) row.element.hidden = !this.#matches(symbol);
    this.#drawCount();
  }

  #shownRows() {
    return [...this.#list.children].filter((element) => !element.hidden);
  }

  #choose(symbol) {
    if (symbol) this.#onSelect(symbol);
  }

  #activate(symbol) {
    this.#rows.get(this.#active)?.element.classList.remove("active");
    this.#active = symbol;
    const element = this.#rows.get(symbol)?.element;
    if (!element) return;
    element.classList.add("active");
    element.scrollIntoView({ block: "nearest" });
    this.#list.setAttribute("aria-activedescendant", element.id);
  }

  #key(event) {
    const shown = this.#shownRows();
    const at = shown.findIndex((element) => element.dataset.symbol === this.#active);
    const page = Math.max(1, Math.floor(this.#list.clientHeight / (shown[0]?.offsetHeight || 1)) - 1);
    const to = {
      ArrowDown: at + 1, ArrowUp: at - 1, PageDown: at + page, PageUp: at - page, Home: 0, End: shown.length - 1,
    }[event.key];
    if (to !== undefined && shown.length) {
      event.preventDefault();
      this.#activate(shown[Math.min(shown.length - 1, Math.max(0, to))].dataset.symbol);
    } else if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      this.#choose(this.#active);
    }
  }

  #inputKey(event) {
    if (event.key === "Escape") {
      this.#input.value = "";
      this.#search("");
      this.#list.focus();
    } else if (event.key === "Enter") {
      this.#choose(this.#shownRows()[0]?.dataset.symbol);
    } else if (event.key === "ArrowDown") {
      event.preventDefault();
      this.#list.focus();
      this.#activate(this.#shownRows()[0]?.dataset.symbol ?? "");
    }
  }
}
