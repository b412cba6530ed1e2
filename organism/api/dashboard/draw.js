// Draws with the page's own means. Text from outside only ever becomes text nodes.

import { amount, count, limits, share, usd } from "./format.js";

const SVG = "http://www.w3.org/2000/svg";
const MARKS = [75, 90, 95];

/** Make an element: attributes, then children; strings become text. */
export function el(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

function fill(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (value !== undefined && value !== null) node.setAttribute(key, value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

/** A bar with what is spent and held, and marks where warnings are given. */
export function bar(line, label) {
  const percent = line.limit ? Math.floor((line.spent * 100) / line.limit) : 100;
  const spent = Math.min(100, line.limit ? (line.spent * 100) / line.limit : 100);
  const held = Math.min(100 - spent, line.limit ? (line.held * 100) / line.limit : 0);
  const level = percent >= 95 ? "over" : percent >= 75 ? "near" : "good";
  const words = share(line.dimension, line.spent, line.limit);
  const picture = svg("svg", { viewBox: "0 0 100 8", preserveAspectRatio: "none", role: "img",
    "aria-label": `${label || line.dimension}: ${words}${line.held ? `, ${amount(line.dimension, line.held)} held` : ""}` },
    svg("rect", { class: "track", width: 100, height: 8 }),
    svg("rect", { class: level, width: spent, height: 8 }),
    svg("rect", { class: "held", x: spent, width: held, height: 8 }),
    ...MARKS.map((mark) => svg("line", { class: "mark", x1: mark, x2: mark, y1: 0, y2: 8, "vector-effect": "non-scaling-stroke" })));
  return el("div", { class: "bar" }, label ? el("span", {}, label) : null, picture, el("span", {}, words));
}

export function bars(budget, name) {
  return limits(budget).map((line) => bar(line, `${name} ${line.dimension}`));
}

/** Horizontal bars of cost, or of tokens where nothing has a price, with the figures beside them. */
export function breakdown(groups) {
  const lines = Object.entries(groups).map(([name, totals]) => ({ name, cost: totals.cost_nanousd,
    unpriced: totals.unpriced_calls, calls: totals.calls,
    tokens: Object.values(totals.usage).reduce((sum, tokens) => sum + tokens, 0) }));
  if (!lines.length) return el("p", {}, "Nothing used yet.");
  const priced = lines.some((line) => line.cost);
  const size = (line) => (priced ? line.cost : line.tokens);
  lines.sort((a, b) => size(b) - size(a));
  const most = Math.max(1, size(lines[0]));
  return el("ul", { class: "breakdown" }, ...lines.map((line) => el("li", {},
    el("span", {}, line.name),
    el("span", { class: "soft" }, `${usd(line.cost, line.unpriced)} · ${count(line.tokens)} tokens · ${count(line.calls)} calls`),
    svg("svg", { viewBox: "0 0 100 8", preserveAspectRatio: "none", "aria-hidden": "true" },
      svg("rect", { class: "track", width: 100, height: 8 }),
      svg("rect", { class: "good", width: (100 * size(line)) / most, height: 8 })))));
}

/** Who wrote to whom, in order, and what it took: a lifeline for each, an arrow for each message. */
export function sequence(hops) {
  if (!hops.length) return el("p", {}, "No messages yet.");
  const names = [...new Set(hops.flatMap((hop) => [hop.sender, hop.recipient]))];
  const gap = 190, step = 44, left = 80, top = 44;
  const width = left * 2 + (names.length - 1) * gap, height = top + hops.length * step + 10;
  const x = (name) => left + names.indexOf(name) * gap;
  const arrows = hops.map((hop, place) => {
    const y = top + place * step + 26, from = x(hop.sender), to = x(hop.recipient);
    const way = Math.sign(to - from) || 1;
    const cost = hop.calls ? `${usd(hop.cost_nanousd)}, ${count(hop.tokens)} tokens${hop.recalled ? ", earlier" : ""}` : hop.message_type;
    const shape = from === to ? `M${from} ${y - 8} h36 v12 h-30` : `M${from} ${y} H${to - way * 8}`;
    const head = from === to ? `${from + 6},${y + 4} ${from + 14},${y} ${from + 14},${y + 8}`
      : `${to},${y} ${to - way * 9},${y - 5} ${to - way * 9},${y + 5}`;
    return svg("g", {}, svg("path", { class: "arrow", d: shape }), svg("polygon", { class: "head", points: head }),
      svg("text", { x: from === to ? from + 44 : (from + to) / 2, y: y - 7, "text-anchor": from === to ? "start" : "middle", class: "soft" }, cost));
  });
  return svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img",
    "aria-label": `Sequence of ${hops.length} messages between ${names.join(", ")}; the list below tells them one by one` },
    ...names.flatMap((name) => [
      svg("line", { class: "lifeline", x1: x(name), x2: x(name), y1: top - 16, y2: height }),
      svg("text", { x: x(name), y: 18, "text-anchor": "middle", class: "name" }, name.length > 22 ? `${name.slice(0, 21)}…` : name)]),
    ...arrows);
}
