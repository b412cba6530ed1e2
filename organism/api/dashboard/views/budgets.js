// Every limit there is: of the organism, agents, models, providers, labels, pools and threads.

import { order } from "../lib/api.js";
import { count, limits } from "../lib/format.js";
import { useData } from "../lib/live.js";
import { burnOf, untilExhausted } from "../lib/pace.js";
import { link, refine } from "../lib/router.js";
import { kindOf, over, parse } from "../lib/scopes.js";
import { html, useState } from "../lib/view.js";
import { Bar } from "../parts/bars.js";
import { Card, Choices, Do, Empty, Grant, Pending, Title } from "../parts/bits.js";
import { act } from "../parts/dialog.js";
import { raise, setLimits } from "../parts/threads.js";

const PAGE = 100;
const MOST = 500;
const KINDS = [["", "All but threads"], ["organism", "Organism"], ["agent", "Agents"], ["model", "Models"], ["provider", "Providers"],
  ["label", "Labels"], ["pool", "Pools"], ["thread", "Threads"]];
const MODES = { enforce: "enforce: a reached limit refuses", audit: "audit: a reached limit is only told of" };

export function Budgets({ query, status }) {
  const [shown, setShown] = useState(PAGE);
  const kind = query.kind ?? "";
  const scope = kind ? [kind] : KINDS.map(([name]) => name).filter((name) => name && name !== "thread");
  const { data, error } = useData("/v1/budgets", { scope, search: query.search, limit: Math.min(shown + 1, MOST) }, { every: 4000 });
  return html`
    <${Title} aside=${status && html`<${Mode} mode=${status.mode} />`}>Budgets<//>
    <div class="filters">
      <input type="search" aria-label="Search budgets" placeholder="Search   /" value=${query.search ?? ""} onInput=${(event) => refine({ ...query, search: event.target.value })} />
      <${Choices} label="Kind" value=${kind} options=${KINDS} onChoose=${(name) => refine({ ...query, kind: name })} />
    </div>
    ${status && status.limits_not_kept.length > 0 && html`<div class="notice"><p>The journal is in memory, so a restart begins these anew: ${status.limits_not_kept.join(", ")}</p></div>`}
    <section class="card flush" aria-label="Budgets">
      <${Pending} data=${data && status} error=${error}>${() => html`<${List} budgets=${data.slice(0, shown)} status=${status}
        more=${data.length > shown && (() => setShown(shown + PAGE))} />`}<//>
    </section>
    ${status && html`<${Warnings} status=${status} />`}`;
}

function Mode({ mode }) {
  const other = mode === "enforce" ? "audit" : "enforce";
  const change = () => act({ question: `Change the mode to ${MODES[other]}?`, yes: `Change to ${other}`, danger: other === "audit",
    order: () => order("PUT", "/v1/mode", { mode: other }), done: `mode ${other}` });
  return html`<span class="row"><span class="soft">${MODES[mode] ?? mode}</span><${Do} about="of every limit without one of its own" onClick=${change}>${`change to ${other}`}<//></span>`;
}

function List({ budgets, status, more }) {
  if (!budgets.length) return html`<${Empty}>No such limit has been used yet.<//>`;
  const sorted = budgets.map((budget) => ({ budget, lines: limits(budget) })).sort((a, b) => (b.lines[0]?.share ?? -1) - (a.lines[0]?.share ?? -1));
  return html`
    <div class="scroll"><table class="stacked">
      <thead><tr><th scope="col">scope</th><th scope="col">counted over</th><th scope="col">used</th><th scope="col">mode</th><th scope="col">at thresholds</th>
        <th scope="col"><span class="unseen">orders</span></th></tr></thead>
      <tbody>${sorted.map(({ budget, lines }) => html`<${Row} key=${budget.account} budget=${budget} lines=${lines} status=${status} />`)}</tbody>
    </table></div>
    ${more && html`<div class="pager">${sorted.length + PAGE <= MOST ? html`<button type="button" onClick=${more}>Show more</button>`
      : html`<span class="soft">There are more: search by name.</span>`}</div>`}`;
}

function Row({ budget, lines, status }) {
  const { kind, name } = parse(budget.account);
  const own = budget.actions.length ? budget.actions : budget.thresholds.map((at) => [at, "warn"]);
  const pace = burnOf(status, budget);
  const passed = budget.resets_ns !== null && budget.resets_ns / 1e6 < Date.now();
  return html`
    <tr>
      <td data-name="scope"><span class="soft small">${kindOf(budget.account)}</span><div>${kind === "thread" && name ? html`<a class="id" href=${link("threads", [name])}>${name}</a>` : name || "all threads"}</div></td>
      <td data-name="counted over">${over(budget.account, passed) || "as long as it is open"}${passed && html`<div class="soft small">over</div>`}</td>
      <td data-name="used" class="wide">${lines.length ? lines.map((line) => html`<div key=${line.dimension}><${Bar} line=${line} name=${`${budget.account} ${line.dimension}`} marks=${own.map(([at]) => at)} />
        ${!passed && html`<div class="soft small">${untilExhausted(line, pace, budget)}</div>`}</div>`) : html`<span class="soft">no limit</span>`}</td>
      <td data-name="mode">${budget.mode}</td>
      <td data-name="thresholds"><${Steps} actions=${own} />
        ${budget.passed > 0 && html`<div class="soft small">a person has let it pass ${budget.passed} %${budget.resets_ns && !passed ? " until it begins anew" : ""}</div>`}
        ${budget.granted.map((grant) => html`<${Grant} key=${grant.until_ns} grant=${grant} />`)}
        ${budget.warning && html`<div class="soft small">${warned(budget.warning)}</div>`}</td>
      <td class="do budget-orders">${!passed && html`<span class="row">${lines.length > 0 && html`<${Do} about=${budget.account} onClick=${() => raise(budget.account)}>raise 25 %<//>`}
        <${Do} about=${`of ${budget.account}`} onClick=${() => setLimits(budget)}>set limits<//></span>`}</td>
    </tr>`;
}

/** What happens at which per cent, each thing once: "warn at 75, 90, 95 %". */
function Steps({ actions }) {
  const at = new Map();
  for (const [percent, action] of actions) at.set(action, [...(at.get(action) ?? []), percent]);
  return [...at].map(([action, percents]) => html`<span class="label whole" key=${action}>${action} at ${percents.join(", ")}\u00a0%</span> `);
}

function warned({ threshold, calls_left: fit }) {
  if (fit === null || fit === undefined) return `warned at ${threshold} %`;
  return `warned ahead of ${threshold} %: ${fit === 1 ? "1 call fits" : `${count(fit)} calls fit`}`;
}

const Warnings = ({ status }) => html`
  <${Card} title="Warnings">
    <p>${status.warn_ahead ? `An agent is also warned when fewer than ${count(status.warn_ahead)} calls as large as its last one fit.` : "Agents are warned at thresholds only."}</p>
    <div class="scroll" tabindex="0" role="region" aria-label="Thresholds"><table class="stacked"><thead><tr><th scope="col">in the configuration</th><th scope="col">what happens at which per cent</th></tr></thead>
      <tbody>${Object.entries(status.thresholds).map(([name, actions]) => html`<tr key=${name}><td data-name="in the configuration"><code>${name}</code></td>
        <td data-name="what happens"><${Steps} actions=${Object.entries(actions)} /></td></tr>`)}</tbody></table></div>
  <//>`;
