// How long a limit lasts at the pace of the last minutes.

import { parse } from "./scopes.js";
import { amount, span, usdAbout } from "./format.js";

const RATES = { usd: "cost_nanousd", tokens: "tokens", calls: "calls" };

const about = (dimension, value) => (dimension === "usd" ? usdAbout(value) : amount(dimension, value));

/** How fast an account is used: everything, or what has its name; nothing is known of others. */
export function burnOf(status, budget) {
  const { kind, name } = parse(budget.account);
  return status.burn.find((one) => one.name === (kind === "organism" ? "total" : `${kind}:${name}`));
}

/** In words: how fast, whether it lasts until it begins anew, and if not how long. */
export function untilExhausted(line, burn, budget) {
  const words = [];
  const used = burn?.[RATES[line.dimension]];
  const left = Math.max(0, line.limit - line.spent - line.held);
  const lasts = used ? (left * burn.seconds) / used : Infinity;
  const anew = budget.resets_ns ? Math.max(0, budget.resets_ns / 1e9 - Date.now() / 1000) : Infinity;
  if (left === 0) words.push("used up");
  else if (used) {
    words.push(`${about(line.dimension, Math.round((used * 3600) / burn.seconds))} an hour`, lasts < anew ? `lasts ${span(lasts)} at this pace` : "enough at this pace");
  }
  if (anew < Infinity) words.push(`begins anew in ${span(anew)}`);
  return words.join(" · ") || (used === 0 ? "nothing used in the last minutes" : "");
}
