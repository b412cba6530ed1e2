// Who wrote to whom, in order, and what it took: a lifeline for each, an arrow for each message.

import { count, usd } from "../lib/format.js";
import { html } from "../lib/view.js";

const GAP = 190, STEP = 44, LEFT = 80, TOP = 44;
const HOPS_MAX = 200;

export function Sequence({ hops }) {
  const drawn = hops.slice(-HOPS_MAX);
  const names = [...new Set(drawn.flatMap((hop) => [hop.sender, hop.recipient]))];
  const width = LEFT * 2 + (names.length - 1) * GAP;
  const height = TOP + drawn.length * STEP + 10;
  const x = (name) => LEFT + names.indexOf(name) * GAP;
  const said = `Sequence of ${drawn.length} messages between ${names.join(", ")}; the list below tells them one by one`;
  return html`
    <div class="scroll" tabindex="0" role="region" aria-label="Sequence of messages">
      <svg class="sequence" width=${width} height=${height} viewBox=${`0 0 ${width} ${height}`} role="img" aria-label=${said}>
        ${names.map((name) => html`<g key=${name}>
          <line class="lifeline" x1=${x(name)} x2=${x(name)} y1=${TOP - 16} y2=${height} />
          <text class="name" x=${x(name)} y="18" text-anchor="middle">${name.length > 22 ? `${name.slice(0, 21)}…` : name}</text></g>`)}
        ${drawn.map((hop, place) => arrow(hop, x(hop.sender), x(hop.recipient), TOP + place * STEP + 26))}
      </svg>
    </div>`;
}

function arrow(hop, from, to, y) {
  const way = Math.sign(to - from) || 1;
  const own = from === to;
  const cost = hop.calls ? `${usd(hop.cost_nanousd)}, ${count(hop.tokens)} tokens${hop.recalled ? ", earlier" : ""}` : hop.message_type;
  const shape = own ? `M${from} ${y - 8} h36 v12 h-30` : `M${from} ${y} H${to - way * 8}`;
  const head = own ? `${from + 6},${y + 4} ${from + 14},${y} ${from + 14},${y + 8}`
    : `${to},${y} ${to - way * 9},${y - 5} ${to - way * 9},${y + 5}`;
  return html`<g key=${hop.number}><path class="arrow" d=${shape} /><polygon class="head" points=${head} />
    <text class="soft" x=${own ? from + 44 : (from + to) / 2} y=${y - 7} text-anchor=${own ? "start" : "middle"}>${cost}</text></g>`;
}
