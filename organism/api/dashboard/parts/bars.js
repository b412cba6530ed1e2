// Bars of what is used: of a limit, and of the whole.

import { amount, count, limits, percent, share, short, tokensOf, unit, usd } from "../lib/format.js";
import { scope } from "../lib/scopes.js";
import { html } from "../lib/view.js";

const MARKS = [75, 90, 95];

/** Where something happens to who uses an account: at its own thresholds, or at those that all have. */
export const marksOf = (budget) => (budget.actions?.length ? budget.actions.map(([at]) => at) : budget.thresholds ?? MARKS);

/** A bar with what is spent and held, and marks where warnings are given. */
export function Bar({ line, name = "", label = "", marks = MARKS }) {
  const used = percent(line.spent, line.limit);
  const spent = Math.min(100, line.limit ? (line.spent * 100) / line.limit : 100);
  const held = Math.min(100 - spent, line.limit ? (line.held * 100) / line.limit : 0);
  const level = used >= 95 ? "over" : used >= 75 ? "near" : "good";
  const words = share(line.dimension, line.spent, line.limit);
  const spoken = `${name || line.dimension}: ${words}${line.held ? `, ${amount(line.dimension, line.held)} held` : ""}`;
  return html`
    <div class=${label ? "bar named" : "bar"}>
      ${label && html`<span class="bar-name">${label}</span>`}
      <svg viewBox="0 0 100 8" preserveAspectRatio="none" role="img" aria-label=${spoken}>
        <rect class="track" width="100" height="8" />
        <rect class=${level} width=${spent} height="8" />
        <rect class="held" x=${spent} width=${held} height="8" />
        ${marks.map((mark) => html`<line key=${mark} class="mark" x1=${mark} x2=${mark} y1="0" y2="8" vector-effect="non-scaling-stroke" />`)}
      </svg>
      <span class="bar-words">${words}${line.held > 0 && html`<small> + ${amount(line.dimension, line.held)} held</small>`}</span>
    </div>`;
}

/** Every limit of an account; without limits, that there is none. */
export function Bars({ budget }) {
  const lines = limits(budget);
  const name = scope(budget.account);
  if (!lines.length) return html`<span class="soft">no limit</span>`;
  return lines.map((line) => html`<${Bar} key=${line.dimension} line=${line} name=${`${name} ${line.dimension}`} label=${unit(line.dimension)} marks=${marksOf(budget)} />`);
}

const sum = (lines, name) => lines.reduce((whole, line) => whole + line[name], 0);

/** Horizontal bars of cost, or of tokens where nothing has a price, with the figures beside them. */
export function Breakdown({ groups, empty = "Nothing used yet.", max = 8, onChoose = null }) {
  const lines = Object.entries(groups).map(([name, totals]) => ({
    name, cost: totals.cost_nanousd, unpriced: totals.unpriced_calls, calls: totals.calls, tokens: tokensOf(totals.usage) }));
  if (!lines.length) return html`<p class="soft">${empty}</p>`;
  const priced = lines.some((line) => line.cost);
  const size = (line) => (priced ? line.cost : line.tokens);
  lines.sort((a, b) => size(b) - size(a));
  const most = Math.max(1, size(lines[0]));
  return html`
    <ul class="breakdown">
      ${lines.slice(0, max).map((line) => html`
        <li key=${line.name}>
          ${onChoose ? html`<a href=${onChoose(line.name)}>${line.name}</a>` : html`<span>${line.name}</span>`}
          <span class="soft">${usd(line.cost, line.unpriced)} · ${short(line.tokens)} tokens · ${count(line.calls)} calls</span>
          <svg viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true">
            <rect class="track" width="100" height="4" /><rect class="good" width=${(100 * size(line)) / most} height="4" />
          </svg>
        </li>`)}
      ${lines.length > max && html`<li class="soft">and ${count(lines.length - max)} more,
        ${usd(sum(lines.slice(max), "cost"), sum(lines.slice(max), "unpriced"))}</li>`}
      ${lines.length > 1 && html`<li class="all"><span>all</span><span>${usd(sum(lines, "cost"), sum(lines, "unpriced"))} · ${short(sum(lines, "tokens"))} tokens · ${count(sum(lines, "calls"))} calls</span></li>`}
    </ul>`;
}
