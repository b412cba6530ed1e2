// Keys and tokens: listed, made, limited and revoked. A secret is on the page until it is seen, and nowhere else.

import { order } from "../lib/api.js";
import { limitsInWords, limitsRead, limitsWritten, moment } from "../lib/format.js";
import { forbidden, tell, useData } from "../lib/live.js";
import { html, useEffect, useRef, useState } from "../lib/view.js";
import { Card, Do, Labels, Pending, Title } from "../parts/bits.js";
import { act, limitFields } from "../parts/dialog.js";

const SCOPES = [["send", "send (a key)"], ["read", "read"], ["operate", "operate"], ["admin", "admin"]];

export function Keys() {
  const { data, error } = useData("/v1/tokens");
  const [made, setMade] = useState(null);
  if (forbidden(error)) return html`<${Title}>Keys and tokens<//><div class="card empty"><p>To see and make keys takes a token with the scope admin.</p></div>`;
  return html`
    <${Title}>Keys and tokens<//>
    <p class="soft">A token with the scope <code>send</code> is a key of the gateway. Its limits bind each thread that it opens; other limits bind those it opens from then on.</p>
    ${made && html`<${Secret} made=${made} onSeen=${() => setMade(null)} />`}
    <section class="card flush" aria-label="Keys"><${Pending} data=${data} error=${error}>${(tokens) => html`
      <div class="scroll" tabindex="0" role="region" aria-label="List of keys"><table class="stacked">
        <thead><tr><th scope="col">name</th><th scope="col">may</th><th scope="col">each thread at most</th><th scope="col">labels</th><th scope="col">valid until</th><th scope="col"><span class="unseen">orders</span></th></tr></thead>
        <tbody>${tokens.map((token) => html`<${Row} key=${token.name} token=${token} />`)}</tbody></table></div>`}<//></section>
    <${Form} onMade=${setMade} />`;
}

const Row = ({ token }) => html`
  <tr>
    <td data-name="name"><strong>${token.name}</strong></td>
    <td data-name="may">${token.scopes.join(", ")}</td>
    <td data-name="each thread at most">${token.limits ? limitsInWords(token.limits) : html`<span class="soft">as configured</span>`}</td>
    <td data-name="labels"><${Labels} labels=${token.labels} /></td>
    <td data-name="valid until">${token.source === "configuration" ? "it is in the configuration" : token.expires_ns === null ? "for ever" : moment(token.expires_ns)}</td>
    <td class="do"><${Orders} token=${token} /></td>
  </tr>`;

/** What can be ordered of a token: nothing of the first one, nor of a key that stands in the configuration. */
function Orders({ token }) {
  const { name } = token;
  if (name === "owner" || token.source === "configuration") return null;
  const bound = token.scopes.includes("send") && token.scopes.every((scope) => ["read", "send"].includes(scope));
  const limit = () => act({ question: `What may each thread of ${name} use at most? An empty field is as configured.`, yes: "Limit it", fields: limitFields(limitsWritten(token.limits)),
    order: (fields) => order("PATCH", `/v1/tokens/${encodeURIComponent(name)}`, { limits: given(fields) ?? null }), done: `${name} limited` });
  const revoke = () => act({ question: `Revoke ${name} now? Programs that use it get no further.`, yes: "Revoke it", danger: true,
    order: () => order("DELETE", `/v1/tokens/${encodeURIComponent(name)}`), done: `${name} revoked` });
  return html`<span class="row">${bound && html`<${Do} about=${name} onClick=${limit}>limit<//>`}<${Do} kind="danger" about=${name} onClick=${revoke}>revoke<//></span>`;
}

function given(fields) {
  const limits = limitsRead(fields);
  return Object.values(limits).some((value) => value !== undefined) ? limits : undefined;
}

function Secret({ made, onSeen }) {
  const shown = useRef(null);
  useEffect(() => shown.current.focus(), [made]);
  return html`<div class="notice" role="status"><div><p><strong>${made.name}</strong>: this is shown once and kept nowhere. Copy it now.</p>
    <pre ref=${shown} tabindex="0" aria-label="the secret">${made.secret}</pre></div>
    <button type="button" onClick=${onSeen}>I have it</button></div>`;
}

function Form({ onMade }) {
  const [error, setError] = useState("");
  const submit = async (event) => {
    event.preventDefault();
    const form = event.target;
    const { name, scope, days, labels, ...fields } = Object.fromEntries(new FormData(form));
    try {
      const pairs = labels.split(",").map((pair) => pair.trim()).filter(Boolean).map((pair) => [pair.split("=")[0], pair.split("=").slice(1).join("=")]);
      onMade(await order("POST", "/v1/tokens", { name: name.trim(), scopes: [scope], days: days.trim() ? Number(days) : undefined, limits: given(fields), labels: Object.fromEntries(pairs) }));
      form.reset();
      setError("");
      tell(true);
    } catch (refused) {
      setError(refused.message);
    }
  };
  return html`
    <${Card} title="Make a key"><p class="soft">Dollars, tokens, calls and seconds are what each thread that it opens may use at most; an empty field is as configured. Days: how long it is valid.</p><form class="fields" autocomplete="off" onSubmit=${submit}>
      <label class="field">Name<input name="name" type="text" required pattern="[A-Za-z][A-Za-z0-9_\\-]{0,63}" maxlength="64" spellcheck="false" title="a letter, then letters, digits, - or _" /></label>
      <label class="field">May<select name="scope">${SCOPES.map(([value, words]) => html`<option key=${value} value=${value}>${words}</option>`)}</select></label>
      ${limitFields({}).map(({ label, ...field }) => html`<label class="field" key=${field.name}>${label}<input type="text" ...${field} /></label>`)}
      <label class="field">Days<input name="days" type="text" inputmode="numeric" pattern="[0-9]+" title="a whole number; for ever unless given" /></label>
      <label class="field">Labels<input name="labels" type="text" placeholder="tenant=acme" title="name=value, with commas between" /></label>
      <button type="submit" class="primary">Make it</button>
    </form>${error && html`<p class="problem" role="alert">${error}</p>`}<//>`;
}
