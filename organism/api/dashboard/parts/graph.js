// Agents as a graph: who writes to whom as configured, and what flows just now.

import { count, usd } from "../lib/format.js";
import { link } from "../lib/router.js";
import { html } from "../lib/view.js";

const WIDTH = 168, HEIGHT = 62, GAP_X = 72, GAP_Y = 22, EDGE = 14;

/** How far each agent is from where messages come in: the longest way, cycles cut where they close. */
export function layers(agents) {
  const byName = new Map(agents.map((agent) => [agent.name, agent]));
  const targets = new Set(agents.flatMap((agent) => agent.next.filter((name) => name !== agent.name)));
  const roots = agents.filter((agent) => !targets.has(agent.name));
  const depth = new Map();
  const visit = (name, level, above) => {
    if (above.has(name) || !byName.has(name) || (depth.get(name) ?? -1) >= level) return;
    depth.set(name, level);
    for (const next of byName.get(name).next) visit(next, level + 1, new Set([...above, name]));
  };
  for (const agent of roots.length ? roots : agents.slice(0, 1)) visit(agent.name, 0, new Set());
  for (const agent of agents) visit(agent.name, 0, new Set());
  return depth;
}

/** Where each box stands: a column a layer, each column in the middle. */
export function places(agents) {
  const depth = layers(agents);
  const connected = agents.filter((agent) => agent.next.length || agents.some((other) => other.next.includes(agent.name)));
  const alone = agents.filter((agent) => !connected.includes(agent));
  const columns = [];
  for (const agent of connected) (columns[depth.get(agent.name)] ??= []).push(agent.name);
  const rows = Math.max(0, ...columns.map((column) => column?.length ?? 0));
  const found = new Map();
  columns.forEach((column, across) => column.forEach((name, down) => found.set(name, {
    x: EDGE + across * (WIDTH + GAP_X), y: EDGE + (down + (rows - column.length) / 2) * (HEIGHT + GAP_Y) })));
  const a_row = Math.max(3, columns.length);
  alone.forEach((agent, place) => found.set(agent.name, {
    x: EDGE + (place % a_row) * (WIDTH + GAP_X), y: EDGE + (rows + Math.floor(place / a_row)) * (HEIGHT + GAP_Y) }));
  return found;
}

export function Graph({ agents, flows }) {
  const at = places(agents);
  const width = Math.max(...[...at.values()].map(({ x }) => x)) + WIDTH + EDGE;
  const height = Math.max(...[...at.values()].map(({ y }) => y)) + HEIGHT + EDGE + 24;
  const edges = agents.flatMap((agent) => agent.next.filter((name) => at.has(name)).map((name) => [agent.name, name]));
  return html`
    <div class="scroll" tabindex="0" role="region" aria-label="Graph of agents">
      <svg class="graph" width=${width} height=${height} viewBox=${`0 0 ${width} ${height}`} role="group" aria-label=${`${agents.length} agents; the table below says the same`}>
        ${edges.map(([from, to]) => html`<${Edge} key=${`${from} ${to}`} from=${at.get(from)} to=${at.get(to)} flows=${flows[`${from} ${to}`] ?? 0} />`)}
        ${agents.map((agent) => html`<${Node} key=${agent.name} agent=${agent} at=${at.get(agent.name)} busy=${flows[agent.name] ?? 0} />`)}
      </svg>
    </div>`;
}

function Edge({ from, to, flows }) {
  const ahead = to.x > from.x;
  const x1 = from.x + WIDTH, y1 = from.y + HEIGHT / 2, x2 = to.x, y2 = to.y + HEIGHT / 2;
  const bow = Math.max(30, (x2 - x1) / 2);
  const path = ahead ? `M${x1} ${y1} C${x1 + bow} ${y1} ${x2 - bow} ${y2} ${x2 - 7} ${y2}`
    : `M${from.x + WIDTH / 2} ${from.y + HEIGHT} C${from.x + WIDTH / 2} ${from.y + HEIGHT + 40} ${to.x + WIDTH / 2} ${to.y + HEIGHT + 40} ${to.x + WIDTH / 2} ${to.y + HEIGHT + 7}`;
  const head = ahead ? `${x2},${y2} ${x2 - 8},${y2 - 5} ${x2 - 8},${y2 + 5}`
    : `${to.x + WIDTH / 2},${to.y + HEIGHT} ${to.x + WIDTH / 2 - 5},${to.y + HEIGHT + 8} ${to.x + WIDTH / 2 + 5},${to.y + HEIGHT + 8}`;
  return html`<g class=${flows ? "edge live" : "edge"}><path d=${path} />
    ${flows > 0 && html`<path key=${flows} class="pulse" d=${path} />`}<polygon points=${head} /></g>`;
}

function Node({ agent, at, busy }) {
  const doing = agent.state !== "running" ? agent.state : agent.handlers ? `${agent.handlers} at work` : "idle";
  const waits = agent.mailbox ? `, ${count(agent.mailbox)} waiting` : "";
  const name = agent.name.length > 19 ? `${agent.name.slice(0, 18)}…` : agent.name;
  const cost = agent.usage ? usd(agent.usage.cost_nanousd, agent.usage.unpriced_calls) : "";
  return html`
    <a href=${link("threads", [], { agent: agent.name })} aria-label=${`${agent.name}: ${doing}${waits}${cost && `, ${cost}`}`}>
      <g class=${`node node-${agent.state} ${agent.handlers ? "working" : ""}`} transform=${`translate(${at.x} ${at.y})`}>
        ${busy > 0 && html`<rect key=${busy} class="ring" width=${WIDTH} height=${HEIGHT} rx="10" />`}
        <rect class="box" width=${WIDTH} height=${HEIGHT} rx="10" />
        <circle class="dot" cx="18" cy="22" r="4.5" />
        <text class="name" x="30" y="27">${name}</text>
        <text class="soft" x="14" y="48">${doing}${waits}</text>
        <text class="soft" x=${WIDTH - 12} y="48" text-anchor="end">${waits ? "" : cost}</text>
      </g>
    </a>`;
}
