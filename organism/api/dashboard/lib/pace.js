// How long a limit lasts at the pace of the last minutes.

import { amount, span, usdAbout } from "./format.js";

const RATES = { usd: "cost_nanousd", tokens: "tokens", calls: "calls" };

const about = (dimension, value) => (dimension === "usd" ? usdAbout(value) : amount(dimension, value));

/** In words: how fast, until when it lasts, and when it begins anew. */
export function untilExhausted(line, burn, budget) {
  const words = [];
  const used = burn?.[RATES[line.dimension]];
  const left = Math.max(0, line.limit - line.spent - line.held);
  if (left === 0) words.push("used up");
  else if (used) {
    words.push(`${about(line.dimension, Math.round((used * 3600) / burn.seconds))} an hour`, `lasts ${span((left * burn.seconds) / used)} at this pace`);
  }
  if (budget.resets_ns) words.push(`begins anew in ${span(Math.max(0, budget.resets_ns / 1e9 - Date.now() / 1000))}`);
  return words.join(" · ") || (used === 0 ? "nothing used in the last minutes" : "");
}
