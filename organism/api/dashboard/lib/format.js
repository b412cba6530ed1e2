// Integers in, words out. Money is nano-USD, time is nanoseconds.

/** Every unit: as requests and refusals name it, in limits, and in amounts; forms and sums go over this table. */
const UNITS = [
  ["usd", "cost_nanousd", "cost_nanousd"], ["tokens", "tokens", "tokens"],
  ["calls", "calls", "calls"], ["seconds", "elapsed_ns", null],
];

export const count = (number) => number.toLocaleString("en-US");

/** A number in four characters or so: 12.3k, 4.5M. */
export function short(number) {
  return number < 10_000 ? count(Math.round(number)) :
    Intl.NumberFormat("en-US", { notation: "compact", maximumSignificantDigits: 3 }).format(number);
}

/** Dollars with as many digits as it takes, at least two: as every command writes them, so that rows add up. */
export function usd(nano, unpriced = 0) {
  const [whole, rest] = [Math.floor(Math.abs(nano) / 1e9), Math.abs(nano) % 1e9];
  const digits = String(rest).padStart(9, "0").replace(/0+$/, "").padEnd(2, "0");
  return `${unpriced ? "~" : ""}${nano < 0 ? "-" : ""}$${count(whole)}.${digits}`;
}

/** Dollars that are only reckoned, such as a pace: three digits that mean something. */
export function usdAbout(nano) {
  const unit = 10 ** Math.min(7, Math.max(0, String(Math.abs(Math.round(nano))).length - 3));
  return usd(Math.round(nano / unit) * unit);
}

/** A unit of limits as people call it. */
export const unit = (dimension) => (dimension === "usd" ? "dollars" : dimension);

export function amount(dimension, value) {
  if (dimension === "usd") return usd(value);
  if (dimension === "seconds") return span(value / 1e9);
  return `${count(value)} ${dimension}`;
}

/** How much of a limit is used: its unit once, and nothing that breaks between a number and its sign. */
export function share(dimension, spent, limit) {
  const plain = ["usd", "seconds"].includes(dimension) ? amount(dimension, spent) : count(spent);
  return `${plain} of ${amount(dimension, limit)} (${percent(spent, limit)}\u00a0%)`;
}

export const percent = (spent, limit) => (limit ? Math.floor((spent * 100) / limit) : 100);

const GAP = "\u00a0"; // no line breaks between a number and its unit

export function span(seconds) {
  if (seconds < 1) return `${Math.round(seconds * 1000)}${GAP}ms`;
  if (seconds < 10) return `${seconds.toFixed(1).replace(".0", "")}${GAP}s`;
  if (seconds < 120) return `${Math.floor(seconds)}${GAP}s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)}${GAP}min`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)}${GAP}h`;
  return `${count(Math.floor(seconds / 86_400))}${GAP}d`;
}

export const duration = (ms) => span(ms / 1000);

/** How long ago an instant was, in whole seconds at least: parts of one say nothing; empty where it is not known. */
export const age = (timeNs) => (timeNs ? span(Math.max(1, Math.floor(Date.now() / 1000 - timeNs / 1e9))) : "");

const CLOCK = { hour: "2-digit", minute: "2-digit", second: "2-digit" };

/** Times of one page are written alike, on charts too: "15:51:14", "29 Nov 2026, 15:51:14". */
export const clock = (timeNs) => new Date(timeNs / 1e6).toLocaleTimeString("en-GB", CLOCK);
export const moment = (timeNs) => new Date(timeNs / 1e6).toLocaleString("en-GB", { day: "numeric", month: "short", year: "numeric", ...CLOCK });
export const iso = (timeNs) => new Date(timeNs / 1e6).toISOString();

/** An instant as the API may write it - nanoseconds, seconds or text - in nanoseconds. */
export function instant(at) {
  if (typeof at === "string") return Date.parse(at) * 1e6;
  return at > 1e15 ? at : at * 1e9;
}

export const tokensOf = (usage) => Object.values(usage).reduce((sum, one) => sum + one, 0);

/** The limits of an account, the nearest first. */
export function limits(budget) {
  return UNITS.flatMap(([dimension, limitName, spentName]) => {
    const limit = budget.limits[limitName];
    if (limit === null || limit === undefined) return [];
    const spent = dimension === "seconds" ? budget.elapsed_ns : budget.spent[spentName];
    const held = dimension === "seconds" ? 0 : budget.held[spentName];
    return [{ dimension, limit, spent, held, share: limit ? (spent + held) / limit : 1 }];
  }).sort((a, b) => b.share - a.share);
}

/** Limits in words: "5,000 tokens, $7.00". */
export function limitsInWords(given) {
  const nothing = Object.fromEntries(UNITS.map(([, , spentName]) => [spentName, 0]));
  return limits({ limits: given, spent: nothing, held: nothing, elapsed_ns: 0 })
    .map(({ dimension, limit }) => amount(dimension, limit)).join(", ");
}

/** Limits as a request writes them: dollars as text, so that no digit is lost. */
export function limitsWritten(given) {
  return Object.fromEntries(UNITS.map(([dimension, limitName]) => [dimension, written(dimension, given?.[limitName])]));
}

function written(dimension, limit) {
  if (limit == null) return "";
  if (dimension === "usd") return dollars(limit);
  return dimension === "seconds" ? Math.floor(limit / 1e9) : limit;
}

function dollars(nano) {
  const digits = String(nano).padStart(10, "0");
  return `${digits.slice(0, -9)}.${digits.slice(-9)}`.replace(/0+$/, "").replace(/\.$/, "");
}

/** Limits out of a form's fields; an empty field is no limit. */
export function limitsRead(fields) {
  return Object.fromEntries(UNITS.map(([dimension]) => {
    const text = String(fields[dimension] ?? "").trim();
    return [dimension, text && dimension !== "usd" ? Number(text) : text || undefined];
  }));
}

/** The units as fields of a form ask for them, in this order. */
export const unitNames = UNITS.map(([dimension]) => dimension);

export const labelsInWords = (labels) => Object.entries(labels).map((pair) => pair.join("=")).join(", ");
