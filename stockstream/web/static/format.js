// Numbers and times as people read them. Times are UTC throughout.

const MAX_DECIMALS = 8;

/** How many decimals show a price; 32-bit prices end in noise, which is not shown. */
export function decimalsOf(price) {
  for (let decimals = 2; decimals < MAX_DECIMALS; decimals += 1) {
    if (Math.abs(Number(price.toFixed(decimals)) - price) <= Math.abs(price) * 1e-7) return decimals;
  }
  return MAX_DECIMALS;
}

const formats = new Map();

function grouped(decimals) {
  if (!formats.has(decimals)) {
    formats.set(decimals, new Intl.NumberFormat("en-US", {
      minimumFractionDigits: decimals, maximumFractionDigits: decimals,
    }));
  }
  return formats.get(decimals);
}

export const price = (value, decimals) => grouped(decimals).format(value);

export const signed = (value, decimals) => (value > 0 ? "+" : "") + grouped(decimals).format(value).replace("-", "−");

const compact = new Intl.NumberFormat("en-US", { notation: "compact", maximumSignificantDigits: 4 });
const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 4 });

export const amount = (value) => (value === null ? "–" : value >= 10_000 ? compact.format(value) : whole.format(value));

export const count = (value) => (value === null ? "–" : value.toLocaleString("en-US"));

/** A count of things, "1 candle" or "2 candles". */
export const things = (number, name) => `${count(number)} ${name}${number === 1 ? "" : "s"}`;

/** Time since, in its largest unit. */
export function age(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86_400)} d`;
}

/** A window's label: a date for a day, else date and minute. */
export function window(startMs, interval) {
  const text = new Date(startMs).toISOString();
  return interval === "1d" ? text.slice(0, 10) : `${text.slice(0, 10)} ${text.slice(11, 16)}`;
}

export const clock = (ms) => new Date(ms).toISOString().slice(11, 19);
