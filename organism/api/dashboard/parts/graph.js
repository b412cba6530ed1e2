// Agents as a graph: who writes to whom, as configured and as seen, how much has gone there, and what flows just now.

import { count, short, usd } from "../lib/format.js";
import { link } from "../lib/router.js";
import { html } from "../lib/view.js";

/** A graph shrinks to the width there is, but to no less than this: then it is scrolled. */
const READABLE = 736;
const WIDTH = 176, HEIGHT = 62, GAP_X = 124, GAP_Y = 40, EDGE = 24;

/** The edges: those of the configuration, and those that messages have taken besides, such as questions of tools. */
export function edges(agents) {
  const names = new Set(agents.map(({ name }) => name));
  const found = new Map();
  const edge = (from, to) => found.get(`${from} ${to}`) ?? found.set(`${from} ${to}`, { from, to, messages: 0, last_minute: 0, seen: true }).get(`${from} ${to}`);
  for (const agent of agents) {
    for (const next of agent.next) if (names.has(next)) edge(agent.name, next).seen = false;
    for (const flow of agent.flows) {
      if (names.has(flow.sender) && names.has(flow.recipient)) Object.assign(edge(flow.sender, flow.recipient), { messages: flow.messages, last_minute: flow.last_minute });
    }
  }
  return [...found.values()];
}

/** How far each agent is from where messages come in: the longest way, cycles cut where they close. */
export function layers(agents, lines) {
  const ahead = new Map(agents.map(({ name }) => [name, lines.filter((line) => line.from === name && !line.seen).map((line) => line.to)]));
  const targets = new Set(lines.filter((line) => line.from !== line.to && !line.seen).map((line) => line.to));
  const roots = agents.filter((agent) => !targets.has(agent.name));
  const depth = new Map();
  const visit = (name, level, above) => {
    if (above.has(name) || !ahead.has(name) || (depth.get(name) ?? -1) >= level) return;
    depth.set(name, level);
    for (const next of ahead.get(name)) visit(next, level + 1, new Set([...above, name]));
  };
  for (const agent of roots.length ? roots : agents.slice(0, 1)) visit(agent.name, 0, new Set());
  for (const agent of agents) visit(agent.name, 0, new Set());
  return depth;
}

/** Where each box stands: a column a layer, each column in the middle. */
export function places(agents, lines) {
  const depth = layers(agents, lines);
  const linked = new Set(lines.filter((line) => !line.seen).flatMap((line) => [line.from, line.to]));
  const connected = agents.filter((agent) => linked.has(agent.name));
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
  const lines = edges(agents);
  const at = places(agents, lines);
  const width = Math.max(...[...at.values()].map(({ x }) => x)) + WIDTH + EDGE;
  const height = Math.max(...[...at.values()].map(({ y }) => y)) + HEIGHT + EDGE + 24;
  return html`
    <div class="scroll" tabindex="0" role="region" aria-label="Graph of agents">
      <svg class="graph" width=${width} height=${height} style=${{ minWidth: `${Math.min(width, READABLE)}px` }} viewBox=${`0 0 ${width} ${height}`} role="group" aria-label=${`${agents.length} agents; the table below says the same`}>
        ${lines.map((line) => html`<${Edge} key=${`${line.from} ${line.to}`} line=${line} from=${at.get(line.from)} to=${at.get(line.to)} flows=${flows[`${line.from} ${line.to}`] ?? 0} />`)}
        ${agents.map((agent) => html`<${Node} key=${agent.name} agent=${agent} at=${at.get(agent.name)} busy=${flows[agent.name] ?? 0} />`)}
      </svg>
    </div>
    <p class="soft small">On a line: messages since the daemon was started, and a minute's worth while any flow. ↓ and ↑: from and to users.</p>`;
}

/** How much has gone along a line; nothing along one that was not taken yet. */
const taken = ({ messages, last_minute: rate }) => (messages ? `${short(messages)}${rate ? ` · ${short(rate)}/min` : ""}` : "");

function Edge({ line, from, to, flows }) {
  const turn = from === to ? 34 : 0;
  const ahead = to.x > from.x;
  const x1 = from.x + WIDTH, y1 = from.y + HEIGHT / 2, x2 = to.x, y2 = to.y + HEIGHT / 2;
  const bow = Math.max(30, (x2 - x1) / 2);
  const back1 = from.x + WIDTH / 2 - turn, back2 = to.x + WIDTH / 2 + turn, low = Math.max(from.y, to.y) + HEIGHT + 40;
  const path = ahead ? `M${x1} ${y1} C${x1 + bow} ${y1} ${x2 - bow} ${y2} ${x2 - 7} ${y2}`
    : `M${back1} ${from.y + HEIGHT} C${back1} ${low} ${back2} ${low} ${back2} ${to.y + HEIGHT + 7}`;
  const head = ahead ? `${x2},${y2} ${x2 - 8},${y2 - 5} ${x2 - 8},${y2 + 5}`
    : `${back2},${to.y + HEIGHT} ${back2 - 5},${to.y + HEIGHT + 8} ${back2 + 5},${to.y + HEIGHT + 8}`;
  const words = taken(line);
  const label = ahead ? onCurve(x1, y1, bow, x2 - 7, y2) : { x: (back1 + back2) / 2, y: (from.y + to.y) / 2 + HEIGHT + 30 };
  return html`<g class=${`edge${flows ? " live" : ""}${line.seen ? " seen" : ""}`}><path d=${path} />
    ${flows > 0 && html`<path key=${flows} class="pulse" d=${path} />`}<polygon points=${head} />
    ${words && html`<rect class="behind" x=${label.x - words.length * 3.4 - 3} y=${label.y - 8} width=${words.length * 6.8 + 6} height="16" rx="3" /><text class="soft flowed" x=${label.x} y=${label.y + 4} text-anchor="middle">${words}</text>`}</g>`;
}

/** The point of a line in the gap behind its sender, where no box stands; lines that part have parted there. */
function onCurve(x1, y1, bow, x2, y2) {
  const along = (t, a, b, c, d) => (1 - t) ** 3 * a + 3 * (1 - t) ** 2 * t * b + 3 * (1 - t) * t ** 2 * c + t ** 3 * d;
  const wanted = x1 + GAP_X / 2 - 4;
  let t = 0;
  while (t < 1 && along(t, x1, x1 + bow, x2 - bow, x2) < wanted) t += 0.02;
  return { x: wanted, y: along(t, y1, y1, y2, y2) };
}

/** How many messages have come from users, and have gone to them. */
function outside(agent) {
  const of = (wanted) => agent.flows.filter(wanted).reduce((sum, flow) => sum + flow.messages, 0);
  return { came: of(({ sender }) => sender === "user"), went: of(({ recipient }) => recipient === "user") };
}

function Node({ agent, at, busy }) {
  const doing = agent.state !== "running" ? agent.state : agent.handlers ? `${agent.handlers} at work` : "idle";
  const waits = agent.mailbox ? `, ${count(agent.mailbox)} waiting` : "";
  const name = agent.name.length > 19 ? `${agent.name.slice(0, 18)}…` : agent.name;
  const { came, went } = outside(agent);
  const cost = agent.usage ? usd(agent.usage.cost_nanousd, agent.usage.unpriced_calls) : "";
  return html`
    <a href=${link("threads", [], { agent: agent.name })} aria-label=${`${agent.name}: ${doing}${waits}${cost && `, ${cost}`}, ${count(came)} messages from users, ${count(went)} to users`}>
      <g class=${`node node-${agent.state} ${agent.handlers ? "working" : ""}`} transform=${`translate(${at.x} ${at.y})`}>
        ${busy > 0 && html`<rect key=${busy} class="ring" width=${WIDTH} height=${HEIGHT} rx="10" />`}
        ${came > 0 && html`<text class="soft" x="10" y="-7">↓ ${short(came)}</text>`}
        ${went > 0 && html`<text class="soft" x=${WIDTH - 10} y="-7" text-anchor="end">↑ ${short(went)}</text>`}
        <rect class="box" width=${WIDTH} height=${HEIGHT} rx="10" />
        <circle class="dot" cx="18" cy="22" r="4.5" />
        <text class="name" x="30" y="27">${name}</text>
        <text class="soft" x="14" y="48">${doing}${waits}</text>
        <text class="soft" x=${WIDTH - 12} y="48" text-anchor="end">${waits ? "" : cost}</text>
      </g>
    </a>`;
}
