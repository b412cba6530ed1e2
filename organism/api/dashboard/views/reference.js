// The reference of the API, from the daemon's own description of it: every operation is read, and tried, here.

import { useData } from "../lib/live.js";
import { link } from "../lib/router.js";
import { fields, grouped, headline, kind, prose } from "../lib/schema.js";
import { html, useState } from "../lib/view.js";
import { Pending, Title } from "../parts/bits.js";
import { Trial } from "../parts/trial.js";

const DOCUMENT = "/v1/schema/openapi.json";

export function Reference({ path: [method, path] }) {
  const { data, error } = useData(DOCUMENT, {}, { every: 3_600_000 });
  return html`
    <${Title}>API<//>
    <p class="soft">Everything that this page and the commands do goes through these requests, each with a token: <code>Authorization: Bearer TOKEN</code>.
      Money is nano-USD, time is nanoseconds, both as whole numbers. What is sent here is sent with the token of this session, and has its effect.</p>
    <${Pending} data=${data} error=${error}>${(document) => html`<${Operations} document=${document} method=${method} path=${path} />`}<//>`;
}

function Operations({ document, method, path }) {
  const [search, setSearch] = useState("");
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  const fits = (each) => words.every((word) => `${each.method} ${each.path} ${each.description ?? ""}`.toLowerCase().includes(word));
  const groups = grouped(document).map(([name, all]) => [name, all.filter(fits)]).filter(([, all]) => all.length);
  const chosen = document.paths[path]?.[method];
  return html`
    <div class=${chosen ? "reference chosen" : "reference"}>
      <nav class="card" aria-label="Operations">
        <input type="search" aria-label="Search operations" placeholder="Search" value=${search} onInput=${(event) => setSearch(event.target.value)} />
        <p class="unseen" role="status">${words.length ? `${groups.reduce((sum, [, all]) => sum + all.length, 0)} operations` : ""}</p>
        ${groups.length === 0 && html`<p class="soft">No operation fits.</p>`}
        ${groups.map(([name, all]) => html`<section key=${name} aria-label=${name}><h2>${name}</h2><ul>${all.map((each) => html`
          <li key=${each.method}><a href=${link("api", [each.method, each.path])} aria-current=${each.method === method && each.path === path ? "page" : undefined} title=${prose(headline(each))}>
            <${Method} name=${each.method} /><span>${each.path}</span></a></li>`)}</ul></section>`)}
      </nav>
      <div class="operation">${chosen
        ? html`<${Operation} key=${`${method} ${path}`} document=${document} operation=${{ method, path, ...chosen }} />`
        : html`<div class="card empty"><p>${path ? "There is no such operation." : "Choose an operation to read what it does, and to try it."}</p></div>`}</div>
    </div>`;
}

const Method = ({ name }) => html`<span class=${`method method-${name}`}>${name.toUpperCase()}</span>`;

function Operation({ document, operation }) {
  const { method, path, description = "", parameters = [], requestBody, responses } = operation;
  const body = requestBody?.content["application/json"]?.schema;
  const scope = operation["x-scope"];
  return html`
    <article class="card" aria-labelledby="operation-title">
      <p class="back"><a href=${link("api")}>All operations</a></p>
      <header><h2 id="operation-title"><${Method} name=${method} /> ${path}</h2>
        ${scope && html`<span class="label">${scope === "none" ? "no token" : `scope ${scope}`}</span>`}</header>
      ${prose(description).split(/\n\s*\n/).map((text) => html`<p key=${text}>${text}</p>`)}
      ${parameters.length > 0 && html`<h3>Parameters</h3><dl class="meanings">${parameters.map((each) => html`
        <div key=${each.name}><dt><code>${each.name}</code> <span class="soft">${each.in}${each.required ? ", required" : ""}</span></dt>
          <dd>${prose(each.description ?? "")} <span class="soft">${kind(document, each.schema)}${each.schema.default !== undefined && each.schema.default !== "" ? `; ${each.schema.default} unless given` : ""}</span></dd></div>`)}</dl>`}
      ${body && html`<h3>Body</h3><dl class="meanings">${fields(document, body).map((each) => html`
        <div key=${each.name}><dt><code>${each.name}</code> ${each.required && html`<span class="soft">required</span>`}</dt>
          <dd>${prose(each.description)} <span class="soft">${each.kind}</span></dd></div>`)}</dl>`}
      <${Trial} document=${document} operation=${operation} body=${body} />
      <${Answers} document=${document} responses=${responses} />
    </article>`;
}

/** What comes back: with success, and each no with when it comes. */
function Answers({ document, responses }) {
  const all = Object.entries(responses);
  const good = all.filter(([status]) => status < "4");
  const errors = all.filter(([status]) => status >= "4");
  return html`
    <h3>Answers</h3>
    <dl class="meanings">${good.map(([status, answer]) => {
      const schema = Object.values(answer.content ?? {})[0]?.schema;
      const parts = schema ? fields(document, schema) : [];
      return html`<div key=${status}><dt><code>${status}</code></dt><dd>${Object.keys(answer.content ?? {}).join(", ") || "nothing"}
        ${parts.length > 0 && html`<dl class="meanings inner">${parts.map((each) => html`<div key=${each.name}><dt><code>${each.name}</code></dt><dd class="soft">${prose(each.description)} ${each.kind}</dd></div>`)}</dl>`}</dd></div>`;
    })}</dl>
    <details><summary>Errors of ${errors.length} statuses, as <code>application/problem+json</code></summary>
      <dl class="meanings">${errors.map(([status, answer]) => html`<div key=${status}><dt><code>${status}</code></dt>
        <dd><ul>${answer.description.split("; ").map((each) => html`<li key=${each}>${each}</li>`)}</ul></dd></div>`)}</dl></details>`;
}
