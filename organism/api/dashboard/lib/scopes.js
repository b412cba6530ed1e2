// The names of accounts, for people: what is limited, and what it is counted over.

const KINDS = { organism: "Organism", thread: "Thread", agent: "Agent", model: "Model", provider: "Provider", label: "Label", pool: "Pool" };
const PRESENT = { hour: "this hour", day: "today", week: "this week", month: "this month" };

/** An account's parts: kind, name, what it is counted over, and which one of these. */
export function parse(account) {
  const at = account.lastIndexOf("@");
  const own = at > 0 ? account.slice(0, at) : account;
  const over = at > 0 ? account.slice(at + 1) : "";
  const [kind, name] = halves(own, ":");
  const [per, which] = halves(over, ":");
  return { kind, name: ["label", "pool"].includes(kind) ? decoded(name) : name, per, which };
}

function halves(text, mark) {
  const at = text.indexOf(mark);
  return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + 1)];
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** What it is counted over: "today", "any 6 h", "each call". A period that has passed is named by its date. */
export function over(account, passed = false) {
  const { per, which } = parse(account);
  if (per === "") return "";
  if (per === "rolling") return `any ${which.replace(/^(\d+)/, "$1\u00a0")}`;
  if (per === "lifetime") return "in all";
  if (per === "call") return "each call";
  if (per === "thread") return `in ${which || "each thread"}`;
  return passed ? `${per} ${which}` : PRESENT[per] ?? `${per} ${which}`;
}

/** The whole name in one line, as on a chart or in a sentence: "today", "agent writer, this month". */
export function scope(account, passed = false) {
  const { kind, name } = parse(account);
  const window = over(account, passed);
  if (kind === "organism") return window;
  const what = kind === "thread" ? "thread" : `${kind} ${name}`;
  return window ? `${what}, ${window}` : what;
}

export const kindOf = (account) => KINDS[parse(account).kind] ?? parse(account).kind;
