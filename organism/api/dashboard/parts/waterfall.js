// What happened in a thread, one line each, where and how long it was on one scale of time: as a tree, or one after the other.

import { amount, clock, count, duration, instant, iso, span, usd } from "../lib/format.js";
import { ordered } from "../lib/events.js";
import { link } from "../lib/router.js";
import { html, useState } from "../lib/view.js";
import { Choices } from "./bits.js";

const KINDS = { message: "message", call: "call", charge: "charge", hold: "hold", warning: "warning", child: "child", order: "order", approval: "order", state: "order" };
const STEPS = 100;
const DEEPEST = 9;
const FORMS = [["tree", "tree"], ["list", "list"]];

const endOf = (item) => instant(item.at) + (item.duration_ms ?? 0) * 1e6;

/**
 * Each step with those below it: a message with all that happened in its handling.
 *
 * A message takes as long as its handling does, and costs what it has led to.
 */
export function treeOf(items) {
  const nodes = items.map((item) => ({ item, below: [], cost: item.cost_nanos ?? 0, tokens: item.tokens ?? 0, unpriced: item.cost_nanos === null }));
  const byId = new Map(nodes.filter(({ item }) => item.id).map((node) => [node.item.id, node]));
  const roots = nodes.filter((node) => {
    const above = byId.get(node.item.under);
    above?.below.push(node);
    return !above;
  });
  roots.forEach(addUp);
  return roots;
}

function addUp(node) {
  for (const child of node.below) {
    addUp(child);
    node.cost += child.item.kind === "hold" ? 0 : child.cost;
    node.tokens += child.item.kind === "hold" ? 0 : child.tokens;
    node.unpriced ||= child.unpriced;
  }
  const ends = node.below.map((child) => (child.below.length ? instant(child.item.at) : endOf(child.item)));
  node.ends = Math.max(endOf(node.item), ...ends);
}

/** The lines of a tree from top to bottom, without what is below a folded one. */
function* linesOf(nodes, folded, depth = 0) {
  for (const node of nodes) {
    yield { ...node, depth };
    if (!folded.has(node.item.id)) yield* linesOf(node.below, folded, depth + 1);
  }
}

export function Waterfall({ items, thread, content, kind, onKind, form, onForm }) {
  const [shown, setShown] = useState(STEPS);
  const [folded, setFolded] = useState(new Set());
  const kinds = [...new Set(items.map((one) => one.kind))];
  const asTree = form !== "list" && !kind;
  const flat = (kind ? items.filter((one) => one.kind === kind) : items).map((one) => ({ item: one, below: [], depth: 0, ends: endOf(one) }));
  const lines = asTree ? [...linesOf(treeOf(items), folded)] : flat;
  const begun = Math.min(...items.map((one) => instant(one.at)));
  const ended = Math.max(...items.map(endOf));
  const whole = Math.max(1, ended - begun);
  const fold = (id) => setFolded((old) => new Set(old.has(id) ? [...old].filter((one) => one !== id) : [...old, id]));
  return html`
    <div class="waterfall-head">
      <span class="soft">${count(items.length)} ${items.length === 1 ? "step" : "steps"} in ${span(whole / 1e9)}</span>
      <div class="filters">
        ${!kind && html`<${Choices} label="Form" value=${asTree ? "tree" : "list"} options=${FORMS} onChoose=${(one) => onForm(one === "tree" ? "" : one)} />`}
        <${Choices} label="Kind" value=${kind} options=${["", ...kinds].map((one) => [one, one || "all"])} onChoose=${onKind} />
      </div>
    </div>
    <ol class="waterfall">
      ${lines.slice(0, shown).map((line, place) => html`<${Line} key=${line.item.id || place} line=${line} begun=${begun} whole=${whole} thread=${thread} content=${content}
        folded=${folded.has(line.item.id)} onFold=${() => fold(line.item.id)} />`)}
    </ol>
    ${lines.length > shown && html`<button type="button" onClick=${() => setShown(shown + 5 * STEPS)}>Show more of ${count(lines.length)}</button>`}`;
}

/** Instants of one list are written alike, so that they can be compared: in hundredths where all of it takes a minute. */
const offset = (seconds, whole) => (whole < 60 ? `${seconds.toFixed(2)} s` : span(Math.floor(seconds) || 0));

function Line({ line, begun, whole, thread, content, folded, onFold }) {
  const { item, below, depth, ends } = line;
  const [turned, setOpen] = useState(null);
  const open = turned ?? (content && item.kind === "message");
  const at = instant(item.at);
  const title = item.kind === "order" ? ordered(item.title) : item.title;
  const told = title.startsWith(`${item.agent} `) ? title.slice(item.agent.length) : ` ${title}`;
  const [cost, tokens, unpriced] = below.length ? [line.cost, line.tokens, line.unpriced] : [item.cost_nanos, item.tokens, false];
  const facts = [cost ? usd(cost, unpriced ? 1 : 0) : "", tokens ? amount("tokens", tokens) : "", ends > at ? duration((ends - at) / 1e6) : ""].filter(Boolean).join(" · ");
  const inset = { marginLeft: `${Math.min(depth, DEEPEST) * 1.1}rem` };
  return html`
    <li class=${`kind-${KINDS[item.kind] ?? "message"}`} aria-level=${depth + 1}>
      <div class="line">
        <time datetime=${iso(at)} title=${clock(at)}>+${offset((at - begun) / 1e9, whole / 1e9)}</time>
        <span class="kind">${item.kind}</span>
        <span class=${depth ? "what below" : "what"} style=${inset}>
          ${below.length > 0 && html`<button type="button" class="fold" aria-expanded=${String(!folded)} aria-label=${`what ${title} has led to`} onClick=${onFold}>${folded ? "▸" : "▾"}</button>`}
          <strong>${item.agent}</strong>${told}
          ${folded && html` <span class="soft small">${count(below.length)} below</span>`}
          ${item.thread_id && item.thread_id !== thread && html` <a class="id small" href=${link("threads", [item.thread_id])}>${item.thread_id}</a>`}
          ${item.detail && html` <button type="button" class="link" aria-expanded=${String(open)} onClick=${() => setOpen(!open)}>${open ? "less" : "more"}</button>`}</span>
        <span class="sums" title=${below.length ? "of all that it has led to; the time is that of its handling" : undefined}>${below.length && (cost || tokens) ? html`<span class="small">in all</span> ` : ""}${facts}</span>
        <svg viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true"><rect class="track" width="100" height="4" />
          <rect class="span" x=${Math.min(99.4, ((at - begun) * 100) / whole)} width=${Math.max(0.6, ((ends - at) * 100) / whole)} height="4" /></svg>
      </div>
      ${open && item.detail && html`<pre tabindex="0" aria-label="detail">${item.detail}</pre>`}
    </li>`;
}
