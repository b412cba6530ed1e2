// Agents: who writes to whom, what flows just now, and what each has to do.

import { order } from "../lib/api.js";
import { count, span, tokensOf, usd } from "../lib/format.js";
import { useData, useEvents } from "../lib/live.js";
import { link } from "../lib/router.js";
import { html, useEffect, useState } from "../lib/view.js";
import { Card, Do, Pending, State, Title } from "../parts/bits.js";
import { act } from "../parts/dialog.js";
import { Graph } from "../parts/graph.js";

const FLOW_MS = 1600;

export function Agents() {
  const { data, error } = useData("/v1/agents");
  const flows = useFlows();
  return html`
    <${Title}>Agents<//>
    <${Pending} data=${data} error=${error} empty="This organism has no agents.">${(agents) => html`
      <${Card} title="Graph"><${Graph} agents=${agents} flows=${flows} /><//>
      <section class="card flush" aria-label="Agents"><div class="scroll"><table class="stacked">
        <thead><tr><th scope="col">agent</th><th scope="col">state</th><th scope="col">writes to</th><th scope="col" class="number">waiting</th><th scope="col" class="number">at work</th>
          <th scope="col" class="number">cost</th><th scope="col" class="number">tokens</th><th scope="col" class="number">calls</th><th scope="col" class="number">latency, 95 %</th><th scope="col"><span class="unseen">orders</span></th></tr></thead>
        <tbody>${agents.map((agent) => html`<${Row} key=${agent.name} agent=${agent} />`)}</tbody></table></div></section>`}
    <//>`;
}

/** What flows: messages light up their edge, calls their agent, for a moment. The daemon names both with each event. */
function useFlows() {
  const [flows, setFlows] = useState({});
  const [number, setNumber] = useState(0);
  useEvents((event) => {
    const keys = event.type === "AgentSaid" ? [`${event.agent} ${event.recipient}`, event.agent] : event.type === "UsageEvent" ? [event.agent] : [];
    if (!keys.length) return;
    setNumber((n) => n + 1);
    setFlows((old) => ({ ...old, ...Object.fromEntries(keys.map((key) => [key, Date.now()])) }));
  });
  useEffect(() => {
    const timer = setTimeout(() => setFlows({}), FLOW_MS);
    return () => clearTimeout(timer);
  }, [number]);
  return flows;
}

/** Whom it writes to, and how many messages have gone there: the same as on the lines of the graph. */
function Targets({ agent }) {
  const sent = new Map(agent.flows.filter(({ sender }) => sender === agent.name).map((flow) => [flow.recipient, flow]));
  const names = [...new Set([...agent.next, ...sent.keys()])];
  if (!names.length) return html`<span class="soft">nobody yet</span>`;
  return names.map((name) => html`<div key=${name}>${name} <span class="soft">${count(sent.get(name)?.messages ?? 0)}${sent.get(name)?.last_minute ? ` · ${count(sent.get(name).last_minute)}/min` : ""}</span></div>`);
}

function Row({ agent }) {
  const { name, usage } = agent;
  const paused = agent.state !== "running";
  const change = () => act({ question: paused ? `Let ${name} take messages again?` : `Pause ${name}? It finishes what it does and takes nothing more.`, yes: paused ? "Let it" : "Pause it",
    order: () => order("POST", `/v1/agents/${encodeURIComponent(name)}/${paused ? "resume" : "pause"}`), done: paused ? `${name} goes on` : `${name} paused` });
  return html`
    <tr>
      <td data-name="agent"><a href=${link("threads", [], { agent: name })}>${name}</a>${agent.description && html`<div class="soft small clip" title=${agent.description}>${agent.description}</div>`}</td>
      <td data-name="state"><${State} state=${agent.state} />${agent.reason && html`<div class="soft small">${agent.reason}</div>`}</td>
      <td data-name="writes to"><${Targets} agent=${agent} /></td>
      <td data-name="waiting" class="number">${count(agent.mailbox)} <span class="soft">of ${count(agent.mailbox_max)}</span></td>
      <td data-name="at work" class="number">${count(agent.handlers)} <span class="soft">of ${count(agent.handlers_max)}</span></td>
      <td data-name="cost" class="number">${usage ? usd(usage.cost_nanousd, usage.unpriced_calls) : "–"}</td>
      <td data-name="tokens" class="number">${usage ? count(tokensOf(usage.usage)) : "–"}</td>
      <td data-name="calls" class="number">${usage ? count(usage.calls) : "–"}</td>
      <td data-name="latency" class="number">${usage?.latency.p95_ns ? span(usage.latency.p95_ns / 1e9) : "–"}</td>
      <td class="do"><${Do} about=${name} onClick=${change}>${paused ? "let it go on" : "pause"}<//></td>
    </tr>`;
}
