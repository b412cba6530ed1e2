// A form that sends a request as the viewer, and shows what comes back as it comes.

import { address, exchange } from "../lib/api.js";
import { count, duration } from "../lib/format.js";
import { command, example, filled, resolved, several, values } from "../lib/schema.js";
import { html, useEffect, useRef, useState } from "../lib/view.js";
import { act } from "./dialog.js";

const SHOWN_MAX = 200_000;

export function Trial({ document: schema, operation, body }) {
  const { method, path } = operation;
  const parameters = (operation.parameters ?? []).filter((each) => each.in !== "header");
  const [given, setGiven] = useState({});
  const [text, setText] = useState(() => (body ? JSON.stringify(example(schema, body), null, 2) : ""));
  const [answer, setAnswer] = useState(null);
  const running = useRef(null);
  useEffect(() => () => running.current?.abort(), []);

  const queried = parameters.filter((each) => each.in === "query").map(({ name, schema: own }) =>
    [name, several(schema, own) ? (given[name] ?? "").split(",").map((one) => one.trim()).filter(Boolean) : given[name]]);
  const url = address(filled(path, given), Object.fromEntries(queried));
  const send = async () => {
    const stop = new AbortController();
    running.current = stop;
    const begun = performance.now();
    const shown = { status: 0, kind: "", text: "", ms: 0, done: false };
    const tell = (more) => setAnswer({ ...Object.assign(shown, more, { ms: performance.now() - begun }) });
    tell({});
    try {
      const got = await exchange(method.toUpperCase(), url, { text: body ? text : undefined, signal: stop.signal });
      tell({ status: got.status, kind: got.headers.get("content-type") ?? "" });
      const reader = got.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let more = await reader.read(); !more.done; more = await reader.read()) {
        tell({ text: shown.text + more.value });
        if (shown.text.length > SHOWN_MAX) stop.abort();
      }
      tell({ done: true });
    } catch (error) {
      tell({ done: true, text: shown.status ? shown.text : error.name === "AbortError" ? "stopped" : error.message });
    }
    running.current = null;
  };
  const submit = async (event) => {
    event.preventDefault();
    if (method === "get") return send();
    return act({ question: `Send ${method.toUpperCase()} ${url}? It has its effect.`, yes: "Send it", danger: method === "delete" || path === "/v1/stop",
      order: send, done: `${method.toUpperCase()} sent` });
  };
  return html`
    <form class="trial" onSubmit=${submit} aria-label="Try it">
      <h3>Try it</h3>
      ${parameters.length > 0 && html`<div class="fields">${parameters.map((each) => html`
        <${Field} key=${each.name} schema=${schema} parameter=${each} value=${given[each.name] ?? ""} onChange=${(value) => setGiven({ ...given, [each.name]: value })} />`)}</div>`}
      ${body && html`<label class="field">Body, as JSON<textarea rows=${Math.min(14, text.split("\n").length + 1)} spellcheck=${false} value=${text} onInput=${(event) => setText(event.target.value)}></textarea></label>`}
      <details><summary>As a command</summary><pre tabindex="0" aria-label="Command">${command(method, `${location.origin}${url}`, body && text)}</pre></details>
      <div class="row">
        <button type="submit" class="primary" disabled=${answer !== null && !answer.done}>Send</button>
        ${answer && !answer.done && html`<button type="button" onClick=${() => running.current?.abort()}>Stop</button>`}
      </div>
      ${answer && html`<${Answer} answer=${answer} name=${path} />`}
    </form>`;
}

/** A field for a parameter: a choice where there are few values, else text that is sent as it is. */
function Field({ schema, parameter: { name, in: place, required, schema: own }, value, onChange }) {
  const known = resolved(schema, own);
  const choices = known.enum ? values(known) : (known.type === "boolean" ? ["true", "false"] : null);
  const listed = several(schema, own);
  const changed = (event) => onChange(event.target.value);
  return html`<label class="field"><span><code>${name}</code>${listed ? ", with commas between" : ""}</span>${choices
    ? html`<select value=${value} onChange=${changed}><option value=""></option>${choices.map((one) => html`<option key=${one} value=${one}>${one}</option>`)}</select>`
    : html`<input type="text" autocomplete="off" spellcheck=${false} value=${value} required=${required || place === "path"} inputmode=${known.type === "integer" ? "numeric" : undefined}
        placeholder=${own.default === undefined || own.default === null ? "" : String(own.default)} onInput=${changed} />`}</label>`;
}

function Answer({ answer: { status, kind, text, ms, done }, name }) {
  const words = !status ? (done ? "no answer" : "waiting") : `${status}${kind ? `, ${kind.split(";")[0]}` : ""}`;
  return html`
    <section class="answer" aria-label="Answer" data-status=${status}>
      <p role="status"><strong class=${status >= 400 || (done && !status) ? "over" : "good"}>${words}</strong>
        <span class="soft"> ${done ? `${duration(ms)}, ${count(text.length)} characters` : "..."}</span>
        ${done && status > 0 && html` <button type="button" class="link" onClick=${() => save(text, kind, name)}>Save</button>`}</p>
      <pre tabindex="0" aria-label="Body of the answer">${pretty(text, kind)}</pre>
    </section>`;
}

function pretty(text, kind) {
  if (!kind.includes("json")) return text;
  try {
    JSON.parse(text);
  } catch {
    return text;
  }
  return indented(text);
}

/** JSON with line breaks: its letters stay as they came, so that no digit of a large number is lost. */
function indented(text) {
  let depth = 0;
  const broken = () => `\n${"  ".repeat(depth)}`;
  return text.replace(/"(?:[^"\\]|\\.)*"|[[{]\s*[\]}]|[[\]{},:]|\s+/g, (part) => {
    if (part.trim() === "") return "";
    if (part === "{" || part === "[") return (depth += 1, part + broken());
    if (part === "}" || part === "]") return (depth -= 1, broken() + part);
    return part === "," ? part + broken() : part === ":" ? ": " : part;
  });
}

function save(text, kind, name) {
  const url = URL.createObjectURL(new Blob([text], { type: kind }));
  const suffix = { "text/html": "html", "text/csv": "csv", "text/markdown": "md" }[kind.split(";")[0]] ?? (kind.includes("json") ? "json" : "txt");
  Object.assign(document.createElement("a"), { href: url, download: `${name.split("/").filter((part) => /^[\w-]+$/.test(part)).join("-")}.${suffix}` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
