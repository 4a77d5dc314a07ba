// Candles of the past, from /candles.

import { headers } from "./key.js";

export const PAGE = 500;

export class NoHistory extends Error {}

/** The newest candles, or those before `endMs`; an empty list where there are none. Throws `NoHistory`. */
export async function fetchCandles({ symbol, interval, session }, endMs, signal) {
  const query = new URLSearchParams({ interval, session, limit: PAGE });
  if (endMs !== undefined) query.set("end", endMs);
  let answer;
  try {
    answer = await fetch(`candles/${encodeURIComponent(symbol)}?${query}`, { headers: headers(), signal });
    if (answer.status === 404) return [];
    const body = await answer.json();
    if (answer.ok) return body.candles;
    throw new NoHistory(body.detail ?? body.title);
  } catch (error) {
    if (error.name === "AbortError" || error instanceof NoHistory) throw error;
    throw new NoHistory("The server does not answer.");
  }
}
