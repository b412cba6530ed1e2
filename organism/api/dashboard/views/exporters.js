// Where events go besides: what the other side of an exporter has refused, and the daemon's own health.

import { order } from "../lib/api.js";
import { count } from "../lib/format.js";
import { useData } from "../lib/live.js";
import { html } from "../lib/view.js";
import { Ago, Card, Do, Empty, Figure, Pending, Title } from "../parts/bits.js";
import { act } from "../parts/dialog.js";

export function Exporters({ status }) {
  const { data, error } = useData("/v1/exporters/set-aside");
  return html`
    <${Title}>Health<//>
    ${status && html`<${Daemon} status=${status} />`}
    <${Card} title="Exporters"><${Pending} data=${data} error=${error}>${(aside) => {
      const names = [...new Set(aside.map((one) => one.exporter))];
      return names.length ? names.map((name) => html`<${Aside} key=${name} name=${name} events=${aside.filter((one) => one.exporter === name)} />`)
        : html`<${Empty}>Nothing is set aside: whatever exporters are configured, the other side has taken all that was offered. Exporters are listed in the configuration under <code>exporters</code>.<//>`;
    }}<//><//>`;
}

function Daemon({ status }) {
  const stuck = Object.entries(status.given_up);
  return html`
    <dl class="figures">
      <${Figure} name="takes new threads" value=${status.accepting ? "yes" : "no"} tone=${status.accepting ? "" : "near"} />
      <${Figure} name="journal" value=${status.durable ? "durable" : "in memory"} note=${status.durable ? "" : "a restart forgets"} tone=${status.durable ? "" : "near"} />
      <${Figure} name="up for" value=${html`<${Ago} ns=${status.started_ns} />`} note=${`version ${status.version}`} />
      <${Figure} name="handlers at work" value=${count(status.handlers)} note=${`of ${count(status.handlers_max)}, ${count(status.handlers_waiting)} waiting`} tone=${status.handlers_waiting ? "near" : ""} />
      <${Figure} name="worker threads" value=${count(status.busy_threads)} note=${`of ${count(status.worker_threads)}`} />
      <${Figure} name="events set aside" value=${count(status.set_aside)} tone=${status.set_aside ? "near" : ""} />
    </dl>
    ${stuck.length > 0 && html`<div class="notice"><p>Plain functions that were given up on and have not returned: ${stuck.map(([agent, number]) => `${agent} (${number})`).join(", ")}</p></div>`}`;
}

function Aside({ name, events }) {
  const retry = () => act({ question: `Offer what ${name} has set aside again?`, yes: "Offer it",
    order: () => order("POST", `/v1/exporters/${encodeURIComponent(name)}/retry`), done: `${name}: offered again` });
  return html`
    <div class="budget"><header class="row"><h3>${name}: ${count(events.length)} refused</h3><${Do} about=${name} onClick=${retry}>retry<//></header>
      <div class="scroll" tabindex="0" role="region" aria-label=${`Events that ${name} has set aside`}><table class="stacked"><thead><tr><th scope="col">event</th><th scope="col">reason</th><th scope="col" class="number">age</th></tr></thead>
        <tbody>${events.slice(0, 50).map((one) => html`<tr key=${one.event_id}><td data-name="event" class="id">${one.event_id}</td><td data-name="reason">${one.reason}</td><td data-name="age" class="number"><${Ago} ns=${one.time_ns} /></td></tr>`)}</tbody></table></div></div>`;
}
