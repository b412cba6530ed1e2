// One thread: what it does and waits for, its limits, and five ways to look at what has happened in it.

import { order } from "../lib/api.js";
import { amount, clock, count, limitsInWords, limitsRead, moment, usd } from "../lib/format.js";
import { forbidden, missing, useData } from "../lib/live.js";
import { link, refine } from "../lib/router.js";
import { scope } from "../lib/scopes.js";
import { html, useState } from "../lib/view.js";
import { Bars } from "../parts/bars.js";
import { Ago, Card, Do, Empty, Grant, Labels, Pending, Title } from "../parts/bits.js";
import { limitFields, say } from "../parts/dialog.js";
import { Sequence } from "../parts/sequence.js";
import { Remedy, ThreadOrders, asksFor, ThreadState, hasEnded, reason, setLimits } from "../parts/threads.js";
import { Waterfall } from "../parts/waterfall.js";

const TABS = [["timeline", "Timeline"], ["messages", "Messages"], ["children", "Children"], ["ledger", "Ledger"], ["replay", "What if"]];

export function Thread({ path: [id, tab = "timeline"], query }) {
  const content = query.content === "true";
  const { data, error } = useData(`/v1/threads/${encodeURIComponent(id)}`, { content: content ? "true" : "" });
  const asked = useData("/v1/approvals", { content: "true", thread: id });
  if (missing(error) || error?.status === 410) return html`<${Gone} id=${id} />`;
  if (forbidden(error)) refine({});
  return html`
    <p class="crumb"><a href=${link("threads")}>Threads</a></p>
    <${Title} aside=${data && html`<${ThreadOrders} thread=${data.thread} />`}><span id="thread-title" class="id">${id}</span><//>
    <${Pending} data=${data} error=${error}>${(detail) => html`
      <${Facts} thread=${detail.thread} asked=${asked.data ?? []} />
      <${Card} title="Limits" aside=${!hasEnded(detail.thread) && html`<${Do} about=${`of ${id}`} onClick=${() => setLimits(detail.thread.budget)}>set limits<//>`}>
        <div class="budgets">${detail.budgets.map((budget) => html`<div key=${budget.account}><h3>${scope(budget.account)}</h3><${Bars} budget=${budget} />${(budget.granted ?? []).map((grant) => html`<${Grant} key=${grant.until_ns} grant=${grant} />`)}</div>`)}</div>
      <//>
      <nav class="tabs" aria-label="Ways to look at the thread">
        ${TABS.map(([name, title]) => html`<a key=${name} href=${link("threads", [id, name], query)} aria-current=${name === tab ? "page" : undefined}>${title}</a>`)}
      </nav>
      <${{ messages: Messages, children: Children, ledger: Ledger, replay: Replay }[tab] ?? Timeline} id=${id} detail=${detail} content=${content} query=${query} />`}
    <//>`;
}

const Gone = ({ id }) => html`
  <${Title}>${id}<//>
  <div class="card empty"><p>No such thread is open, nor has one ended lately.</p><a class="button" href=${link("threads", [], { state: "all" })}>All threads</a></div>`;

function Facts({ thread, asked }) {
  const why = reason(thread);
  const facts = [
    ["state", html`<${ThreadState} thread=${thread} asked=${asked} />`],
    ["cost", usd(thread.budget.spent.cost_nanousd, thread.budget.unpriced_calls)],
    ["tokens", count(thread.budget.spent.tokens)],
    ["calls", count(thread.budget.spent.calls)],
    ["opened", thread.opened_ns ? html`<${Ago} ns=${thread.opened_ns} /> ago by ${thread.opened_by}` : `by ${thread.opened_by}`],
    thread.closed_ns ? ["ended", html`<${Ago} ns=${thread.closed_ns} /> ago`] : null,
    thread.parent_thread_id ? ["parent", html`<a class="id" href=${link("threads", [thread.parent_thread_id])}>${thread.parent_thread_id}</a>`] : null,
    Object.keys(thread.labels).length ? ["labels", html`<${Labels} labels=${thread.labels} />`] : null,
    Object.keys(thread.queued).length ? ["at work", Object.entries(thread.queued).map(([name, number]) => `${name} (${number})`).join(", ")] : null,
  ].filter(Boolean);
  const questions = asked.filter((one) => one.thread_id === thread.thread_id);
  return html`
    <dl class="facts">${facts.map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>
    ${(why || questions.length > 0) && html`
      <div class="notice"><div>${questions.map((one) => html`<p key=${one.id}><strong>${one.agent}</strong> ${asksFor(one)}</p>
        ${one.detail && html`<pre tabindex="0" aria-label="what exactly is asked">${one.detail}</pre>`}`)}
        ${!questions.length && html`<p>${why}</p>`}</div><${Remedy} thread=${thread} asked=${questions} /></div>`}`;
}

/** Whether what messages say is shown; it stands in the address, and only one who may see it can ask for it. */
const Says = ({ content, query }) => html`<label class="check"><input type="checkbox" checked=${content}
  onChange=${(event) => refine({ ...query, content: event.target.checked ? "true" : "" })} /> show what messages say</label>`;

function Timeline({ id, content, query }) {
  const { data, error } = useData(`/v1/threads/${encodeURIComponent(id)}/timeline`, { content: content ? "true" : "" }, { every: 3000 });
  return html`<${Card} title="Timeline" aside=${html`<${Says} content=${content} query=${query} />`}><${Pending} data=${data} error=${error}>${({ items, more }) => html`
    ${items.length ? html`<${Waterfall} items=${items} thread=${id} content=${content} kind=${query.kind ?? ""} onKind=${(kind) => refine({ ...query, kind })}
      form=${query.form ?? ""} onForm=${(form) => refine({ ...query, form })} />` : html`<${Empty}>Nothing has happened yet.<//>`}
    ${more && html`<p class="soft">There is more: the last ${count(items.length)} are shown.</p>`}`}<//><//>`;
}

function Messages({ id, detail, content, query }) {
  const hops = detail.messages;
  return html`
    <${Card} title="Messages" aside=${html`<${Says} content=${content} query=${query} />`}>
      ${hops.length ? html`<${Sequence} hops=${hops} />
        <ol id="flow-list" class="flow">${hops.map((hop) => html`<li key=${hop.number}><span>${inWords(hop)}</span>
          ${hop.text !== null && html`<blockquote>${hop.text}</blockquote>`}</li>`)}</ol>` : html`<${Empty}>No messages yet.<//>`}
      ${!hasEnded(detail.thread) && html`<${Reply} id=${id} />`}
    <//>`;
}

function inWords(hop) {
  const cost = hop.calls ? `, ${usd(hop.cost_nanousd)}, ${count(hop.tokens)} tokens` : "";
  if (hop.recalled) return `${hop.sender}, before the daemon was started anew${cost}`;
  return `${hop.sender} to ${hop.recipient}: ${hop.message_type || "a message"}${cost}`;
}

function Reply({ id }) {
  const [text, setText] = useState("");
  const submit = async (event) => {
    event.preventDefault();
    try {
      await order("POST", `/v1/threads/${id}/messages`, { text });
      setText("");
      say("message sent");
    } catch (error) {
      say(error.message, "error");
    }
  };
  return html`<form class="reply" onSubmit=${submit}><input type="text" aria-label="Message into this thread" placeholder="Write into this thread" required
    value=${text} onInput=${(event) => setText(event.target.value)} /><button type="submit">Send</button></form>`;
}

function Children({ detail }) {
  const below = (parent) => detail.tree.filter((thread) => thread.parent_thread_id === parent);
  const Branch = ({ thread }) => html`
    <li><span class="branch"><a class="id" href=${link("threads", [thread.thread_id])}>${thread.thread_id}</a> <${ThreadState} thread=${thread} />
      <span class="soft">by ${thread.opened_by} · ${usd(thread.budget.spent.cost_nanousd, thread.budget.unpriced_calls)} · ${count(thread.budget.spent.tokens)} tokens</span></span>
      ${below(thread.thread_id).length > 0 && html`<ul>${below(thread.thread_id).map((child) => html`<${Branch} key=${child.thread_id} thread=${child} />`)}</ul>`}</li>`;
  return html`<${Card} title="Children">${detail.tree.length ? html`<ul class="tree"><${Branch} thread=${detail.thread} /></ul>`
    : html`<${Empty}>This thread has no child threads.<//>`}<//>`;
}

function Ledger({ id }) {
  const { data, error } = useData(`/v1/budgets/${encodeURIComponent(id)}/story`, {}, { every: 3000 });
  return html`
    <${Card} title="Ledger"><${Pending} data=${data} error=${error}>${(story) => html`
      <p class="soft">Every hold and what became of it. Charged ${usd(story.charged.cost_nanousd)} for ${count(story.charged.tokens)} tokens in ${count(story.charged.calls)} calls;
        still held ${usd(story.open_held.cost_nanousd)}.</p>
      ${!story.holds.length ? html`<${Empty}>No call has been held yet.<//>` : html`<div class="scroll" tabindex="0" role="region" aria-label="Holds"><table class="stacked">
        <thead><tr><th scope="col" class="number">no.</th><th scope="col">time</th><th scope="col">call</th><th scope="col">state</th>
          <th scope="col" class="number">held</th><th scope="col" class="number">charged</th><th scope="col" class="number">tokens</th></tr></thead>
        <tbody>${story.holds.map((hold) => html`<tr key=${hold.seq}>
          <td data-name="no." class="number">${hold.seq}</td><td data-name="time"><time title=${moment(hold.time_ns)}>${clock(hold.time_ns)}</time></td>
          <td data-name="call">${hold.call ? html`<strong>${hold.call.agent}</strong> ${hold.call.model}` : "child's limits"}</td>
          <td data-name="state">${hold.state}${hold.truncated ? ", cut at the hold" : ""}</td>
          <td data-name="held" class="number">${usd(hold.held.cost_nanousd)}</td>
          <td data-name="charged" class="number">${usd(hold.charged.cost_nanousd, hold.priced ? 0 : 1)}${hold.overrun.cost_nanousd || hold.overrun.tokens ? html`<small class="over"> overrun</small>` : ""}</td>
          <td data-name="tokens" class="number">${count(hold.charged.tokens)}</td></tr>`)}</tbody>
      </table></div>`}
      <h3>What else happened</h3>
      ${story.notes.length ? html`<ol class="flow">${story.notes.map((note) => html`<li key=${`${note.seq}${note.text}`}><time class="soft" title=${moment(note.time_ns)}>${clock(note.time_ns)}</time>
        ${" "}${scope(note.account)}: ${note.text}${note.limits ? ` (${limitsInWords(note.limits) || "no limits"})` : ""}${note.shortfall && !note.shortfall.note ? ` for ${amount(note.shortfall.dimension, note.shortfall.needed)} of ${amount(note.shortfall.dimension, note.shortfall.limit)}` : ""}</li>`)}</ol>`
      : html`<p class="soft">Nothing.</p>`}`}<//>
    <//>`;
}

function Replay({ id }) {
  const [outcome, setOutcome] = useState(null);
  const [error, setError] = useState(null);
  const submit = async (event) => {
    event.preventDefault();
    const { model, ...fields } = Object.fromEntries(new FormData(event.target));
    const limits = Object.fromEntries(Object.entries(limitsRead(fields)).filter(([, value]) => value !== undefined));
    try {
      setOutcome(await order("POST", `/v1/threads/${id}/replay`, { limits, ...(model.trim() ? { models: { "*": model.trim() } } : {}) }));
      setError(null);
    } catch (refused) {
      setError(refused);
    }
  };
  return html`
    <${Card} title="What if">
      <p class="soft">Decides the recorded calls anew under other limits or another model. It changes nothing and calls nobody.</p>
      <form class="fields" onSubmit=${submit}>
        ${limitFields({}).map(({ label, ...field }) => html`<label class="field" key=${field.name}>${label}<input type="text" autocomplete="off" ...${field} /></label>`)}
        <label class="field">Model for all<input type="text" name="model" placeholder="provider/model" autocomplete="off" /></label>
        <button type="submit" class="primary">Replay</button>
      </form>
      ${error && html`<p class="problem" role="alert">${error.message}</p>`}
      ${outcome && html`<${Outcome} outcome=${outcome} />`}
    <//>`;
}

const Outcome = ({ outcome }) => html`
  <div role="status">
    <p class=${outcome.stop ? "over" : "good"}>${outcome.stop ? `It would have ${outcome.stop.parks ? "waited" : "been refused"} at call ${outcome.stop.call}${outcome.stop.agent && ` of ${outcome.stop.agent}`}: ${amount(outcome.stop.shortfall.dimension, outcome.stop.shortfall.needed)} needed of ${scope(outcome.stop.shortfall.account)}, limit ${amount(outcome.stop.shortfall.dimension, outcome.stop.shortfall.limit)}.`
      : outcome.over ? `Audit only: call ${outcome.over} is the first that would have been refused.` : "Every call would have been made."}</p>
    <div class="scroll" tabindex="0" role="region" aria-label="Recorded and replayed"><table>
      <thead><tr><th scope="col">sum</th><th scope="col" class="number">recorded</th><th scope="col" class="number">replayed</th></tr></thead>
      <tbody>${[["all", outcome.total], ...Object.entries(outcome.by_agent), ...Object.entries(outcome.by_model)].map(([name, { recorded, replayed }]) => html`
        <tr key=${name}><th scope="row">${name}</th>${[recorded, replayed].map((sum, side) => html`
          <td key=${side} class="number">${usd(sum.cost_nanousd, sum.unpriced_calls)} · ${count(sum.tokens)} tokens · ${count(sum.calls)} calls</td>`)}</tr>`)}</tbody>
    </table></div>
    ${outcome.crossings.length > 0 && html`<p class="soft">Thresholds crossed on the way: ${count(outcome.crossings.length)}.</p>`}
  </div>`;
