// Integers in, words out. Money is nano-USD, time is nanoseconds.

export const DIMENSIONS = [
  ["tokens", "tokens", "tokens"], ["usd", "cost_nanousd", "cost_nanousd"],
  ["seconds", "elapsed_ns", null], ["calls", "calls", "calls"],
];

export const count = (number) => number.toLocaleString("en-US");

/** Dollars with two digits, or as many as a small amount needs to be seen. */
export function usd(nano, unpriced = 0) {
  const dollars = nano / 1e9;
  const digits = nano === 0 || dollars >= 1 ? 2 : Math.min(9, Math.max(2, 1 - Math.floor(Math.log10(dollars)) + 1));
  return (unpriced ? "~" : "") + "$" + dollars.toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: digits });
}

export function amount(dimension, value) {
  if (dimension === "usd") return usd(value);
  if (dimension === "seconds") return `${(value / 1e9).toFixed(0)} s`;
  return `${count(value)} ${dimension}`;
}

/** How much of a limit is used: its unit once, and nothing that breaks between a number and its sign. */
export function share(dimension, spent, limit) {
  const percent = limit ? Math.floor((spent * 100) / limit) : 100;
  const plain = ["tokens", "calls"].includes(dimension) ? count(spent) : amount(dimension, spent);
  return `${plain} of ${amount(dimension, limit)} (${percent}\u00a0%)`;
}

export function span(seconds) {
  if (seconds < 120) return `${Math.floor(seconds)} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  return `${Math.floor(seconds / 3600)} h`;
}

export function clock(timeNs) {
  return new Date(timeNs / 1e6).toLocaleTimeString();
}

/** The limits of an account, the nearest first. */
export function limits(budget) {
  return DIMENSIONS.flatMap(([dimension, limitName, spentName]) => {
    const limit = budget.limits[limitName];
    if (limit === null || limit === undefined) return [];
    const spent = dimension === "seconds" ? budget.elapsed_ns : budget.spent[spentName];
    const held = dimension === "seconds" ? 0 : budget.held[spentName];
    return [{ dimension, limit, spent, held, share: limit ? (spent + held) / limit : 1 }];
  }).sort((a, b) => b.share - a.share);
}

/** A scope's name for people. */
export function scope(account) {
  const [own, over] = account.split("@");
  const [kind, name] = own.split(":");
  if (kind === "organism") return over.split(":")[0] === "day" ? "today" : "this month";
  return kind === "thread" ? "thread" : `${kind} ${name}`;
}
