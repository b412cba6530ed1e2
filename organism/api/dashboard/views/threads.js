// All threads: searched, filtered, sorted and paged by the daemon, so ten thousand are as quick as ten.

import { count, limits, short, usd } from "../lib/format.js";
import { useData } from "../lib/live.js";
import { go, link, refine } from "../lib/router.js";
import { html, useEffect, useRef, useState } from "../lib/view.js";
import { Bar } from "../parts/bars.js";
import { Ago, Choices, Labels, Pending, Select, Title } from "../parts/bits.js";
import { ENDED, OPEN, Remedy, ThreadOrders, ThreadState, reason } from "../parts/threads.js";

const PAGE = 25;
const STATES = { open: OPEN, blocked: ["blocked"], paused: ["paused"], ended: ENDED, failed: ["failed"], all: [...OPEN, ...ENDED] };
const STATE_NAMES = [["open", "Open"], ["blocked", "Waiting"], ["paused", "Paused"], ["ended", "Ended"], ["failed", "Failed"], ["all", "All"]];
const WAITING = [["", "anything"], ["budget", "budget"], ["person", "a person"], ["child", "a child"], ["provider", "a provider"],
  ["freeze", "a freeze"], ["breaker", "a breaker"], ["operator", "an operator"]];
const SORTS = [["opened", "opened"], ["spent", "cost"], ["activity", "activity"]];

export function Threads({ query }) {
  const chosen = { state: "open", sort: "opened", order: "desc", ...query };
  const change = (changes) => refine({ ...query, cursor: "", from: "", ...changes });
  const { data, error, fresh } = useData("/v1/threads", {
    search: chosen.search, agent: chosen.agent, label: chosen.label, waiting: chosen.waiting, sort: chosen.sort, order: chosen.order,
    state: STATES[chosen.state] ?? OPEN, limit: PAGE, cursor: chosen.cursor });
  const asking = (data?.threads ?? []).filter((thread) => thread.approvals?.length).map((thread) => thread.thread_id);
  const approvals = useData(asking.length ? "/v1/approvals" : null, { thread: asking }, { every: 4000 }).data ?? [];
  const filtered = ["search", "agent", "label", "waiting"].some((name) => chosen[name]);
  return html`
    <${Title} aside=${html`<a class="button primary" href=${link("send")}>New task</a>`}>Threads<//>
    <${Filters} chosen=${chosen} change=${change} />
    <section class="card flush" aria-label="Threads" aria-busy=${String(!fresh)}>
      <${Pending} data=${data} error=${error}>${(page) => html`
        ${page.threads.length ? html`<${List} threads=${page.threads} asked=${approvals} chosen=${chosen} change=${change} />`
        : html`<${None} filtered=${filtered} state=${chosen.state} />`}
        <${Pager} page=${page} query=${query} />`}
      <//>
    </section>`;
}

function None({ filtered, state }) {
  if (filtered) return html`<div class="empty"><p>No thread fits.</p><a class="button" href=${link("threads", [], { state })}>Show all of them</a></div>`;
  return html`<div class="empty"><p>${state === "open" ? "No threads are open." : "No threads here."}</p>
    <a class="button" href=${link("send")}>Send a task</a> <a class="button" href=${link("threads", [], { state: "all" })}>Show ended ones</a></div>`;
}

function Filters({ chosen, change }) {
  const agents = useData("/v1/agents", {}, { every: 30_000 }).data ?? [];
  return html`
    <div class="filters">
      <${Search} value=${chosen.search ?? ""} onSearch=${(search) => change({ search })} />
      <${Choices} label="State" value=${chosen.state} options=${STATE_NAMES} onChoose=${(state) => change({ state })} />
      <${Select} label="Agent" value=${chosen.agent ?? ""} options=${[["", "any"], ...agents.map(({ name }) => [name, name])]} onChoose=${(agent) => change({ agent })} />
      <${Select} label="Waits for" value=${chosen.waiting ?? ""} options=${WAITING} onChoose=${(waiting) => change({ waiting })} />
      <span class="sorting"><${Select} label="Sort by" value=${chosen.sort} options=${SORTS} onChoose=${(sort) => change({ sort })} />
      <button type="button" onClick=${() => change({ order: chosen.order === "desc" ? "asc" : "desc" })}
        aria-label=${chosen.order === "desc" ? "largest or newest first; turn round" : "smallest or oldest first; turn round"}>${chosen.order === "desc" ? "↓" : "↑"}</button></span>
      ${chosen.label && html`<button type="button" class="label" onClick=${() => change({ label: "" })} aria-label=${`no longer only ${chosen.label}`}>${chosen.label} ✕</button>`}
    </div>`;
}

/** A search begins when the typing pauses: one question, not one for each letter. */
function Search({ value, onSearch }) {
  const [text, setText] = useState(value);
  const timer = useRef(0);
  const sought = useRef(value);
  useEffect(() => { // an address that somebody went to; one that this field has made is behind what was typed since
    if (value !== sought.current) setText(value);
    sought.current = value;
  }, [value]);
  const typed = (event) => {
    const wanted = event.target.value;
    setText(wanted);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => {
      sought.current = wanted.trim();
      onSearch(sought.current);
    }, 250);
  };
  return html`<input id="search" type="search" aria-label="Search threads" placeholder="Search ids, labels, agents   /" value=${text} onInput=${typed} />`;
}

const List = ({ threads, asked, chosen, change }) => html`
  <div class="scroll"><table class="stacked threads">
    <thead><tr><th scope="col">thread</th><th scope="col">state</th><th scope="col">agent</th><th scope="col">nearest limit</th>
      <${Sorted} name="spent" chosen=${chosen} change=${change} className="number">cost<//><th scope="col" class="number less">tokens</th>
      <${Sorted} name="opened" chosen=${chosen} change=${change} className="number">age<//><${Sorted} name="activity" chosen=${chosen} change=${change} className="number">quiet for<//><th scope="col"><span class="unseen">orders</span></th></tr></thead>
    <tbody>${threads.map((thread) => html`<${Row} key=${thread.thread_id} thread=${thread} asked=${asked} change=${change} />`)}</tbody>
  </table></div>`;

function Sorted({ name, chosen, change, className, children }) {
  const on = chosen.sort === name;
  const turned = on && chosen.order === "desc" ? "asc" : "desc";
  return html`<th scope="col" class=${className} aria-sort=${on ? (chosen.order === "desc" ? "descending" : "ascending") : "none"}>
    <button type="button" class="link" onClick=${() => change({ sort: name, order: turned })}>${children}${on ? (chosen.order === "desc" ? " ↓" : " ↑") : ""}</button></th>`;
}

function Row({ thread, asked, change }) {
  const nearest = limits(thread.budget)[0];
  const agents = Object.keys(thread.queued);
  const at = agents.length ? agents : thread.parked.length ? thread.parked : (thread.agents ?? []).slice(-1);
  const why = reason(thread);
  return html`
    <tr>
      <td data-name="thread"><a class="id" href=${link("threads", [thread.thread_id])}>${thread.thread_id}</a>
        <div class="chips">${Object.entries(thread.labels).map(([name, value]) => html`
          <button type="button" key=${name} class="label" onClick=${() => change({ label: `${name}=${value}` })} aria-label=${`only ${name}=${value}`}>${name}=${value}</button>`)}</div></td>
      <td data-name="state"><${ThreadState} thread=${thread} asked=${asked} />${why && html`<div class="soft clip" title=${why}>${why}</div>`}
        <div class="remedy"><${Remedy} thread=${thread} asked=${asked} /></div></td>
      <td data-name="agent">${at.join(", ") || html`<span class="soft">–</span>`}</td>
      <td data-name="nearest limit">${nearest ? html`<${Bar} line=${nearest} />` : html`<span class="soft">no limit</span>`}</td>
      <td data-name="cost" class="number">${usd(thread.budget.spent.cost_nanousd, thread.budget.unpriced_calls)}</td>
      <td data-name="tokens" class="number less">${short(thread.budget.spent.tokens)}</td>
      <td data-name="age" class="number"><${Ago} ns=${thread.opened_ns} /></td>
      <td data-name="quiet for" class="number"><${Ago} ns=${thread.active_ns} /></td>
      <td class="do"><${ThreadOrders} thread=${thread} /></td>
    </tr>`;
}

/** Pages have addresses too: a reload, a link and the browser's own way back lead to the same one. */
function Pager({ page, query }) {
  const known = useRef(new Map());
  const from = Math.max(0, Number(query.from) || 0);
  known.current.set(from, query.cursor);
  const total = page.total ?? null;
  const next = page.next_cursor ?? null;
  const before = Math.max(0, from - PAGE);
  const turn = (to, cursor) => go("threads", [], { ...query, cursor, from: to || "" });
  if (!page.threads.length) return null;
  return html`
    <nav class="pager" aria-label="Pages">
      <span class="soft">${count(from + 1)}–${count(from + page.threads.length)}${total === null ? "" : ` of ${count(total)}`}</span>
      ${before > 0 && !known.current.has(before) ? html`<button type="button" onClick=${() => turn(0, "")}>First</button>`
      : html`<button type="button" disabled=${!from} onClick=${() => turn(before, before ? known.current.get(before) : "")}>Previous</button>`}
      <button type="button" disabled=${!next} onClick=${() => turn(from + page.threads.length, next)}>Next</button>
    </nav>`;
}
