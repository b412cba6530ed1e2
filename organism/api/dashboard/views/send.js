// Give the organism a task, and follow it as a conversation while it is worked on.

import { order } from "../lib/api.js";
import { clock, count, limits, limitsRead, usd } from "../lib/format.js";
import { forbidden, useData } from "../lib/live.js";
import { go, link } from "../lib/router.js";
import { html, useEffect, useRef, useState } from "../lib/view.js";
import { Bar } from "../parts/bars.js";
import { Card, Title } from "../parts/bits.js";
import { limitFields } from "../parts/dialog.js";
import { Remedy, ThreadState, hasEnded, reason } from "../parts/threads.js";

export function Send({ path: [id] }) {
  return html`<${Title} aside=${id && html`<span class="row"><a class="button" href=${link("threads", [id])}>Open the thread</a><a class="button primary" href=${link("send")}>New task</a></span>`}>${id ? "Task" : "New task"}<//>
    ${id ? html`<${Conversation} key=${id} id=${id} />` : html`<${Form} />`}`;
}

function Form() {
  const agents = useData("/v1/agents", {}, { every: 30_000 }).data ?? [];
  const [error, setError] = useState("");
  const submit = async (event) => {
    event.preventDefault();
    const { text, to, labels, ...fields } = Object.fromEntries(new FormData(event.target));
    const asked = Object.fromEntries(Object.entries(limitsRead(fields)).filter(([, value]) => value !== undefined));
    const pairs = labels.split(",").map((pair) => pair.trim()).filter(Boolean).map((pair) => [pair.split("=")[0], pair.split("=").slice(1).join("=")]);
    try {
      const opened = await order("POST", "/v1/threads", { text, to: to || undefined, labels: Object.fromEntries(pairs), limits: Object.keys(asked).length ? asked : undefined });
      go("send", [opened.thread_id]);
    } catch (refused) {
      setError(refused.message);
    }
  };
  return html`
    <${Card} title="What is to be done?"><form onSubmit=${submit} class="task">
      <textarea name="text" rows="5" aria-label="Task" required placeholder="Write about tides"></textarea>
      <details><summary>For whom, with which labels and limits</summary><div class="fields">
        <label class="field">Agent<select name="to"><option value="">the entry agent</option>${agents.map(({ name }) => html`<option key=${name} value=${name}>${name}</option>`)}</select></label>
        <label class="field">Labels<input name="labels" type="text" placeholder="tenant=acme" title="name=value, with commas between" /></label>
        ${limitFields({}).map(({ label, ...field }) => html`<label class="field" key=${field.name}>${label}<input type="text" autocomplete="off" ...${field} /></label>`)}
      </div></details>
      ${error && html`<p class="problem" role="alert">${error}</p>`}
      <div class="actions"><button type="submit" class="primary">Send it</button></div>
    </form><//>`;
}

function Conversation({ id }) {
  const whole = useData(`/v1/threads/${encodeURIComponent(id)}`, { content: "true" });
  const bare = useData(forbidden(whole.error) ? `/v1/threads/${encodeURIComponent(id)}` : null);
  const asked = useData("/v1/approvals", { thread: id }).data ?? [];
  const { data, error } = bare.data ? bare : whole;
  const last = useRef(null);
  const number = data?.messages.length ?? 0;
  useEffect(() => last.current?.scrollIntoView({ block: "nearest" }), [number]);
  if (error && !data) return html`<p class="problem" role="alert">${error.message}</p>`;
  if (!data) return html`<div class="skeleton" aria-busy="true"><span></span><span></span></div>`;
  const { thread, messages } = data;
  const nearest = limits(thread.budget)[0];
  const why = reason(thread);
  return html`
    <section class="card chat" aria-label="Conversation">
      <header class="row"><${ThreadState} thread=${thread} asked=${asked} /><span class="soft">${usd(thread.budget.spent.cost_nanousd, thread.budget.unpriced_calls)} · ${count(thread.budget.spent.tokens)} tokens</span>
        ${nearest && html`<${Bar} line=${nearest} />`}</header>
      <ol class="bubbles" aria-live="polite">
        ${messages.map((hop) => html`<li key=${hop.number} class=${hop.sender === "user" ? "mine" : hop.recipient === "user" ? "answer" : ""}>
          <p class="soft small"><strong>${hop.sender}</strong> to ${hop.recipient} · ${clock(hop.time_ns)}${hop.calls ? ` · ${usd(hop.cost_nanousd)}` : ""}</p>
          <blockquote>${hop.text ?? hop.message_type}</blockquote></li>`)}
        ${!hasEnded(thread) && html`<li class="typing"><span class="soft">${Object.keys(thread.queued).join(", ") || "the organism"} ${why ? "waits" : "is at work"}</span></li>`}
        <li ref=${last} aria-hidden="true" class="end"></li>
      </ol>
      ${why && html`<div class="notice"><p>${why}</p><${Remedy} thread=${thread} asked=${asked} /></div>`}
      ${!why && html`<${Remedy} thread=${thread} asked=${asked} />`}
    </section>`;
}
