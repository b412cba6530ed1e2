// What happened in a thread, one line each, where and how long it was on one scale of time.

import { amount, clock, count, duration, instant, iso, span, usd } from "../lib/format.js";
import { ordered } from "../lib/events.js";
import { link } from "../lib/router.js";
import { html, useState } from "../lib/view.js";

const KINDS = { message: "message", call: "call", charge: "charge", hold: "hold", warning: "warning", child: "child", order: "order", approval: "order", state: "order" };
const STEPS = 100;

export function Waterfall({ items, thread, content, kind, onKind }) {
  const [shown, setShown] = useState(STEPS);
  const kinds = [...new Set(items.map((item) => item.kind))];
  const chosen = kind ? items.filter((item) => item.kind === kind) : items;
  const begun = Math.min(...items.map((item) => instant(item.at)));
  const ended = Math.max(...items.map((item) => instant(item.at) + (item.duration_ms ?? 0) * 1e6));
  const whole = Math.max(1, ended - begun);
  return html`
    <div class="waterfall-head">
      <span class="soft">${count(items.length)} ${items.length === 1 ? "step" : "steps"} in ${span(whole / 1e9)}</span>
      <div class="choices" role="group" aria-label="Kind">
        ${["", ...kinds].map((one) => html`<button type="button" key=${one} aria-pressed=${String(kind === one)} onClick=${() => onKind(one)}>${one || "all"}</button>`)}
      </div>
    </div>
    <ol class="waterfall">
      ${chosen.slice(0, shown).map((item, place) => html`<${Line} key=${place} item=${item} left=${((instant(item.at) - begun) * 100) / whole}
        width=${((item.duration_ms ?? 0) * 1e8) / whole} begun=${begun} whole=${whole} thread=${thread} content=${content} />`)}
    </ol>
    ${chosen.length > shown && html`<button type="button" onClick=${() => setShown(shown + 5 * STEPS)}>Show more of ${count(chosen.length)}</button>`}`;
}

/** Instants of one list are written alike, so that they can be compared: in hundredths where all of it takes a minute. */
const offset = (seconds, whole) => (whole < 60 ? `${seconds.toFixed(2)} s` : span(Math.floor(seconds) || 0));

function Line({ item, left, width, begun, whole, thread, content }) {
  const [turned, setOpen] = useState(null);
  const open = turned ?? (content && item.kind === "message");
  const at = instant(item.at);
  const title = item.kind === "order" ? ordered(item.title) : item.title;
  const told = title.startsWith(`${item.agent} `) ? title.slice(item.agent.length) : ` ${title}`;
  const facts = [item.cost_nanos ? usd(item.cost_nanos) : "", item.tokens ? amount("tokens", item.tokens) : "",
    item.duration_ms ? duration(item.duration_ms) : ""].filter(Boolean).join(" · ");
  return html`
    <li class=${`kind-${KINDS[item.kind] ?? "message"}`}>
      <div class="line">
        <time datetime=${iso(at)} title=${clock(at)}>+${offset((at - begun) / 1e9, whole / 1e9)}</time>
        <span class="kind">${item.kind}</span>
        <span class="what"><strong>${item.agent}</strong>${told}
          ${item.thread_id && item.thread_id !== thread && html` <a class="id small" href=${link("threads", [item.thread_id])}>${item.thread_id}</a>`}
          ${item.detail && html` <button type="button" class="link" aria-expanded=${String(open)} onClick=${() => setOpen(!open)}>${open ? "less" : "more"}</button>`}</span>
        <span class="sums">${facts}</span>
        <svg viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true"><rect class="track" width="100" height="4" />
          <rect class="span" x=${Math.min(99.4, left)} width=${Math.max(0.6, width)} height="4" /></svg>
      </div>
      ${open && item.detail && html`<pre tabindex="0" aria-label="detail">${item.detail}</pre>`}
    </li>`;
}
