// How things stand: what is frozen, what is spent and how fast, over time and by whom, and what happens just now.

import { order } from "../lib/api.js";
import { clock, count, iso, labelsInWords, limits, short, span, tokensOf, unit, usd, usdAbout } from "../lib/format.js";
import { useData, useLive } from "../lib/live.js";
import { link } from "../lib/router.js";
import { describe } from "../lib/events.js";
import { scope } from "../lib/scopes.js";
import { html } from "../lib/view.js";
import { Bar, Breakdown, marksOf } from "../parts/bars.js";
import { Card, Do, Empty, Figure, Pending, Title } from "../parts/bits.js";
import { REASON, act } from "../parts/dialog.js";
import { burnOf, untilExhausted } from "../lib/pace.js";
import { History } from "./history.js";

const OTHERS = ["agent", "model", "provider", "label", "pool"];
const LOOKED_THROUGH = 200;
const NEAR = 4;

export function Overview({ query, status }) {
  return html`
    <${Title} aside=${status && html`<${FreezeAll} freezes=${status.freezes} />`}>Overview<//>
    <${Pending} data=${status} error=${null}>${(now) => html`
      <${Freezes} freezes=${now.freezes} />
      <${Figures} status=${now} />
      <${History} query=${query} />
      <div class="columns">
        <${Windows} status=${now} />
        <div>
          <${Used} by="agent" title="By agent, since the start" query=${(name) => link("threads", [], { agent: name, state: "all" })} />
          <${Used} by="model" title="By model, since the start" />
        </div>
      </div>
      <${Events} />`}
    <//>`;
}

function FreezeAll({ freezes }) {
  if (freezes.some((one) => !Object.keys(one.labels).length)) return null;
  const freeze = () => act({ question: "Stop all spending now? No new call leaves until it is lifted; calls under way finish.", yes: "Freeze it", danger: true,
    fields: [REASON], order: ({ reason }) => order("POST", "/v1/freeze", { reason }), done: "all spending is frozen" });
  return html`<${Do} kind="danger" about="now" onClick=${freeze}>freeze all spending<//>`;
}

const Freezes = ({ freezes }) => freezes.map((one) => {
  const what = labelsInWords(one.labels) || "everything";
  const query = Object.entries(one.labels).map(([name, value]) => `label=${encodeURIComponent(`${name}=${value}`)}`).join("&");
  const lift = () => act({ question: `Let spending of ${what} go on?`, yes: "Unfreeze it",
    order: () => order("DELETE", `/v1/freeze${query ? `?${query}` : ""}`), done: `${what} goes on` });
  return html`<div class="notice over" key=${what}><p>Spending of ${what} is frozen by ${one.by} since <time>${clock(one.since_ns)}</time>${one.reason && `: ${one.reason}`}</p>
    <${Do} about=${what} onClick=${lift}>unfreeze<//></div>`;
});

function Figures({ status }) {
  const { usage, burn: [burn], threads } = status;
  const refused = useData("/v1/usage", { by: "day" }, { every: 4000 });
  const latency = refused.data?.total.latency ?? usage.latency;
  return html`
    <dl class="figures">
      <${Figure} name="spent since the start" value=${usd(usage.cost_nanousd, usage.unpriced_calls)} note=${usage.unpriced_calls ? `${count(usage.unpriced_calls)} calls without a price` : ""} />
      <${Figure} name="per hour, at this pace" value=${usdAbout((burn.cost_nanousd * 3600) / burn.seconds)} note=${`${short((burn.tokens * 60) / burn.seconds)} tokens a minute`} />
      <${Figure} name="calls" value=${short(usage.calls)} note=${`${short(tokensOf(usage.usage))} tokens`} />
      <${Figure} name="latency, 95 %" value=${latency.p95_ns ? span(latency.p95_ns / 1e9) : "–"} note=${latency.p50_ns ? `half within ${span(latency.p50_ns / 1e9)}` : ""} />
      <${Figure} name="threads open" value=${count(threads.open + threads.blocked + threads.paused)}
        note=${html`<a href=${link("threads", [], { state: "blocked" })}>${count(threads.blocked)} waiting</a>, ${count(threads.paused)} paused`} tone=${threads.blocked ? "near" : ""} />
      <${Figure} name="for a person" value=${html`<a href=${link("approvals")}>${count(status.approvals)}</a>`}
        note=${html`<a href=${link("letters")}>${count(status.dead_letters)} ${status.dead_letters === 1 ? "dead letter" : "dead letters"}</a>`} tone=${status.approvals ? "near" : ""} />
    </dl>`;
}

/** Limits of everything, and of what else is nearest to its end, unless that is too much to look through. */
function Windows({ status }) {
  const others = useData("/v1/budgets", { scope: OTHERS, limit: LOOKED_THROUGH }, { every: 4000 }).data ?? [];
  const near = others.length < LOOKED_THROUGH ? others.filter(({ resets_ns: ends }) => ends === null || ends / 1e6 > Date.now()).map((budget) => [budget, limits(budget)[0]?.share ?? 0]).filter(([, share]) => share > 0)
    .sort(([, one], [, other]) => other - one).slice(0, NEAR).map(([budget]) => budget) : [];
  return html`
  <${Card} title="Limits" aside=${html`<a href=${link("budgets")}>all budgets</a>`}>
    ${status.windows.map((budget) => html`<${Limited} key=${budget.account} budget=${budget} burn=${status.burn[0]} />`)}
    ${near.map((budget) => html`<${Limited} key=${budget.account} budget=${budget} burn=${burnOf(status, budget)} />`)}
    ${!status.windows.length && !near.length && html`<${Empty}>No limit over all threads is set. One line in the configuration does: <code>limits: {day: {usd: 5}}</code><//>`}
  <//>`;
}

const Limited = ({ budget, burn }) => html`
  <div class="budget">${limits(budget).map((line) => html`<div key=${line.dimension}>
    <${Bar} line=${line} name=${`${scope(budget.account)} ${line.dimension}`} label=${`${scope(budget.account)}, ${unit(line.dimension)}`} marks=${marksOf(budget)} />
    <p class="soft small">${untilExhausted(line, burn, budget)}</p></div>`)}</div>`;

function Used({ by, title, query = null }) {
  const { data, error } = useData("/v1/usage", { by });
  return html`<${Card} title=${title} id=${`${by}s`}><${Pending} data=${data} error=${error}>${({ groups }) => html`<${Breakdown} groups=${groups} onChoose=${query} />`}<//><//>`;
}

function Events() {
  const { events } = useLive();
  const told = events.map((event) => [event, describe(event)]).filter(([, text]) => text).slice(0, 60);
  return html`
    <${Card} title="Live">
      ${told.length ? html`<ol id="live" class="log" tabindex="0" aria-label="Newest events first">
        ${told.map(([event, text]) => html`<li key=${event.key}><time datetime=${iso(event.time_ns)}>${clock(event.time_ns)}</time>
          ${text} ${event.thread_id && html`<a class="id" href=${link("threads", [event.thread_id])}>${event.thread_id}</a>`}</li>`)}</ol>`
      : html`<${Empty}>Quiet. Events appear here as they happen.<//>`}
    <//>`;
}
