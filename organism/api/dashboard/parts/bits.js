// Small parts that many views share.

import { moment, age, amount, iso, span } from "../lib/format.js";
import { html, useEffect, useRef } from "../lib/view.js";

/** The title of a view; it has the focus when one has gone there, so that a screen reader begins there. */
export function Title({ children, aside = null }) {
  const heading = useRef(null);
  const first = useRef(document.activeElement === document.body && !document.body.dataset.moved);
  useEffect(() => {
    if (!first.current) heading.current.focus();
    document.body.dataset.moved = "yes";
  }, []);
  return html`<header class="title"><h1 tabindex="-1" ref=${heading}>${children}</h1>${aside}</header>`;
}

/** A part of a view with a heading of its own. */
export function Card({ title, aside = null, children, id = undefined, className = "" }) {
  const name = id ?? title.toLowerCase().replace(/[^a-z]+/g, "-");
  return html`
    <section class=${`card ${className}`} aria-labelledby=${`${name}-title`} id=${name}>
      <header><h2 id=${`${name}-title`}>${title}</h2>${aside}</header>
      ${children}
    </section>`;
}

/** What stands where data is to come, where it cannot come, and where there is none. */
export function Pending({ data, error, empty = null, children }) {
  if (error && !data) return html`<p class="problem" role="alert">${error.message}</p>`;
  if (!data) return html`<div class="skeleton" aria-busy="true"><span></span><span></span><span></span><i>Loading</i></div>`;
  const none = empty !== null && (Array.isArray(data) ? !data.length : false);
  return none ? html`<${Empty}>${empty}<//>` : children(data);
}

export const Empty = ({ children }) => html`<div class="empty"><p>${children}</p></div>`;

/** What a thread or an agent does: a word, with a mark whose shape differs, so colour alone tells nothing. */
export const State = ({ state, children = state }) => html`<span class=${`state state-${state}`}><i aria-hidden="true"></i>${children}</span>`;

export const Labels = ({ labels }) => Object.entries(labels).map(([name, value]) =>
  html`<span class="label" key=${name}>${name}=${value}</span>`);

export const Ago = ({ ns, empty = "–" }) => (ns ? html`<time datetime=${iso(ns)} title=${moment(ns)}>${age(ns)}</time>` : empty);

/** Budget that a person has granted for a while, and when what is left of it goes back. */
export function Grant({ grant }) {
  const parts = [grant.cost_nanousd && amount("usd", grant.cost_nanousd), grant.tokens && amount("tokens", grant.tokens)].filter(Boolean).join(" and ");
  const left = Math.max(0, grant.until_ns / 1e9 - Date.now() / 1000);
  return html`<div class="soft small">${parts} granted until <time datetime=${iso(grant.until_ns)}>${moment(grant.until_ns)}</time>; what is left goes back in ${span(left)}</div>`;
}

/** One of several choices, as a row of buttons. */
export const Choices = ({ label, value, options, onChoose }) => html`
  <div class="choices" role="group" aria-label=${label}>
    ${options.map(([one, name]) => html`
      <button type="button" key=${one} aria-pressed=${String(one === value)} onClick=${() => onChoose(one)}>${name}</button>`)}
  </div>`;

export const Select = ({ label, value, options, onChoose }) => html`
  <label class="field inline">${label}
    <select value=${value} onChange=${(event) => onChoose(event.target.value)}>
      ${options.map(([one, name]) => html`<option key=${one} value=${one} selected=${one === value}>${name}</option>`)}
    </select>
  </label>`;

/** A button for an order; its full name says what it is about, as several of the same word stand on a page. */
export const Do = ({ about = "", kind = "", onClick, children, disabled = false }) => html`
  <button type="button" class=${kind} aria-label=${about ? `${children} ${about}` : undefined} onClick=${onClick} disabled=${disabled}>${children}</button>`;

export const Figure = ({ name, value, note = "", tone = "" }) => html`
  <div class=${`figure ${tone}`}><dt>${name}</dt><dd>${value}${note && html`<small>${note}</small>`}</dd></div>`;
