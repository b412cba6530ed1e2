// The page: asks how things stand, draws it, and gives orders after a confirmation.

import { Refused, ask, follow, forgetSession, openSession, order, takeSession } from "./api.js";
import { bar, bars, breakdown, el, sequence } from "./draw.js";
import { clock, count, limits, scope, span, usd } from "./format.js";
import { showKeys } from "./keys.js";

const $ = (id) => document.getElementById(id);
const OPEN = ["open", "blocked", "paused", "closing", "dormant"];
const ENDED = ["completed", "failed", "terminated"];
const LIVE_MAX = 60;
let chosen = null;
let waiting = null;
let asking = false;
let mayOperate = true;
let askedIn = new Set();

$("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    await openSession($("token").value.trim());
    $("token").value = "";
    await begin();
  } catch (error) {
    $("login-error").textContent = error instanceof Refused && error.status === 401 ? "That is no valid token." : error.message;
  }
});
$("ended").addEventListener("change", refresh);
$("content").addEventListener("change", refresh);

function login(why = "") {
  forgetSession();
  $("main").hidden = true;
  $("login").hidden = false;
  $("login-error").textContent = why;
  $("token").focus();
}

async function begin() {
  await refresh();
  $("login").hidden = true;
  $("main").hidden = false;
  setInterval(refresh, 5000);
  follow(onEvent, (open) => { $("connection").textContent = open ? "live" : "reconnecting"; })
    .catch(() => login("The session has ended. Open it again."));
}

function onEvent({ data }) {
  const item = describe(data);
  if (item) {
    $("live").prepend(el("li", {}, el("time", {}, clock(data.time_ns)), item));
    while ($("live").children.length > LIVE_MAX) $("live").lastChild.remove();
  }
  clearTimeout(waiting);
  waiting = setTimeout(refresh, 300);
}

function describe(event) {
  const thread = event.thread_id ? ` in ${event.thread_id}` : "";
  switch (event.type) {
    case "UsageEvent": {
      const tokens = Object.values(event.usage).reduce((sum, one) => sum + one, 0);
      const cost = event.cost_nanousd === null ? "unknown cost" : usd(event.cost_nanousd);
      return `${event.agent} used ${count(tokens)} tokens of ${event.model}, ${cost}${event.outcome === "settled" ? "" : ` (${event.outcome})`}${thread}`;
    }
    case "ThresholdCrossed": return `${event.threshold} % of ${event.account} ${event.dimension} reached by ${event.agent}`;
    case "SpendingFrozen": return `${event.by} has frozen spending${Object.keys(event.labels).length ? ` of ${Object.entries(event.labels).map((pair) => pair.join("=")).join(", ")}` : ""}`;
    case "SpendingUnfrozen": return `${event.by} lets spending go on${Object.keys(event.labels).length ? ` of ${Object.entries(event.labels).map((pair) => pair.join("=")).join(", ")}` : ""}`;
    case "BreakerTripped": return `${event.agent}: ${event.text}${event.action ? `; ${event.action}` : ""}${thread}`;
    case "BudgetExceeded": return `${event.shortfall.account} ${event.enforced ? "refused" : "would refuse"} ${event.agent}${thread}`;
    case "ThreadClosed": return `thread ${event.thread_id} ${event.outcome}, ${usd(event.budget.spent.cost_nanousd)}`;
    case "OperatorAction": return `${event.by}: ${event.action} ${event.target}`;
    case "EventLoopBlocked": return `${event.agent || "code"} held up everything for ${(event.blocked_ns / 1e9).toFixed(1)} s at ${event.where}${thread}`;
    case "DeadLetter": return `message to ${event.recipient} given up on: ${event.reason}`;
    default: return `${event.type}${thread}`;
  }
}

async function refresh() {
  if (asking) return;
  asking = true;
  try {
    const states = $("ended").checked ? [...OPEN, ...ENDED] : OPEN;
    const [status, page, agents, models, team, asked] = await Promise.all([
      ask("/v1/status"), ask("/v1/threads", { state: states, limit: 50 }), ask("/v1/usage", { by: "agent" }),
      ask("/v1/usage", { by: "model" }), ask("/v1/agents"), askApprovals(),
    ]);
    drawStatus(status);
    drawApprovals(asked);
    drawThreads(page.threads);
    drawAgents(agents.groups, team);
    $("models").replaceChildren(breakdown(models.groups));
    if (chosen) await drawThread();
    await showKeys(button, confirm);
  } catch (error) {
    if (error instanceof Refused && error.status === 401) login("The session has ended. Open it again.");
    else $("connection").textContent = "no answer from the daemon";
  } finally {
    asking = false;
  }
}

function drawStatus(status) {
  document.title = `${status.name} · organism`;
  $("name").textContent = status.name;
  const counts = status.threads;
  $("facts").textContent = `mode ${status.mode} · ${counts.open} open, ${counts.blocked} blocked, ${counts.paused} paused · ` +
    `${status.dead_letters} dead letters${status.accepting ? "" : " · takes no new threads"}`;
  drawFreezes(status.freezes);
  const windows = status.windows.flatMap((budget) => bars(budget, scope(budget.account)));
  $("windows").replaceChildren(...(windows.length ? windows : [el("p", {}, "No limit over all threads is set.")]));
  const burn = status.burn[0];
  const today = status.windows.find((budget) => budget.account.startsWith("organism@day"));
  const spent = today && today.limits.cost_nanousd !== null && burn.cost_nanousd
    ? span(Math.max(0, today.limits.cost_nanousd - today.spent.cost_nanousd) / burn.cost_nanousd * burn.seconds) : "—";
  $("burn").replaceChildren(...[
    ["since the start", usd(status.usage.cost_nanousd, status.usage.unpriced_calls)],
    ["calls", count(status.usage.calls)],
    ["per hour, at this pace", usd(burn.cost_nanousd * 3600 / burn.seconds)],
    ["tokens per minute", count(Math.round(burn.tokens * 60 / burn.seconds))],
    ["today's limit lasts", spent],
  ].map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
}

/** What is frozen, and the way to stop everything; who may not operate hears that from the daemon. */
function drawFreezes(freezes) {
  const focused = document.activeElement?.dataset?.key;
  const all = freezes.some((one) => !Object.keys(one.labels).length);
  const freezeAll = all ? null : button("freeze all spending", "freeze:everything", () => confirm(
    "Stop all spending now? No new call leaves until it is lifted; calls under way finish.", "Freeze it",
    (note) => order("POST", "/v1/freeze", { reason: note }), "all spending is frozen", true), "danger", "now");
  $("freezes").replaceChildren(...freezes.map((one) => {
    const labels = Object.entries(one.labels).map(([name, value]) => `${name}=${value}`);
    const what = labels.join(", ") || "everything";
    const query = labels.map((label) => `label=${encodeURIComponent(label)}`).join("&");
    return el("p", { class: "blocked-by" }, `Spending of ${what} is frozen by ${one.by} since `, el("time", {}, clock(one.since_ns)),
      one.reason ? `: ${one.reason} ` : " ",
      button("unfreeze", `unfreeze:${what}`, () => confirm(`Let spending of ${what} go on?`, "Unfreeze it",
        () => order("DELETE", `/v1/freeze${query ? `?${query}` : ""}`), `${what} goes on`), "", what));
  }), el("p", {}, freezeAll));
  refocus(focused);
}

/** What exactly is asked is content: whoever may not see it is shown that something is asked, and cannot answer. */
async function askApprovals() {
  if (mayOperate) {
    try {
      return await ask("/v1/approvals", { content: "true" });
    } catch (error) {
      if (!(error instanceof Refused) || error.status !== 403) throw error;
      mayOperate = false;
    }
  }
  return ask("/v1/approvals");
}

function drawApprovals(asked) {
  const focused = document.activeElement?.dataset?.key;
  askedIn = new Set(asked.map((one) => one.thread_id));
  $("approvals").hidden = asked.length === 0;
  $("approvals-list").replaceChildren(...asked.map((one) => {
    const about = `${one.what} of ${one.agent}`;
    const answer = (allowed) => (note) => order("POST", `/v1/approvals/${one.id}`, { allowed, note });
    const actions = mayOperate ? [
      button("allow", `allow:${one.id}`, () => confirm(`Allow ${about}, exactly as it is shown?`, "Allow it",
        answer(true), `${about} allowed`, true), "", about), " ",
      button("deny", `deny:${one.id}`, () => confirm(`Deny ${about}?`, "Deny it",
        answer(false), `${about} denied`, true), "danger", about),
    ] : [];
    return el("li", {},
      el("p", {}, el("strong", {}, one.agent), " asks for ", el("strong", {}, one.what), " in ",
        button(one.thread_id, `asked:${one.thread_id}`, () => show(one.thread_id), "link"),
        ", since ", el("time", {}, clock(one.asked_ns))),
      one.detail ? el("pre", { tabindex: "0", "aria-label": "what exactly is asked" }, one.detail) : null,
      el("p", {}, ...actions));
  }));
  refocus(focused);
}

function refocus(key) {
  if (key) document.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus();
}

function drawThreads(threads) {
  $("no-threads").hidden = threads.length > 0;
  const focused = document.activeElement?.dataset?.key;
  $("threads").replaceChildren(...threads.map((thread) => {
    const id = thread.thread_id;
    const nearest = limits(thread.budget)[0];
    const ended = ENDED.includes(thread.state);
    const verb = thread.state === "paused" ? "resume" : "pause";
    const actions = ended ? [] : [
      button("raise 25 %", `raise:${id}`, () => confirm(`Raise every limit of ${id} by 25 %?`, "Raise it",
        () => order("POST", `/v1/budgets/${id}/move`, { percent: 25 }), `limits of ${id} raised`)), " ",
      button(verb, `${verb}:${id}`, () => confirm(`${verb === "pause" ? "Pause" : "Resume"} ${id} and its children?`, verb,
        () => order("POST", `/v1/threads/${id}/${verb}`), `${id}: ${verb} ordered`)), " ",
      button("end", `end:${id}`, () => confirm(`End ${id} and its children now? What runs is charged; nothing can be resumed.`, "End it",
        () => order("DELETE", `/v1/threads/${id}`), `${id} ended`), "danger"),
    ];
    return el("tr", {},
      el("td", {}, button(id, `show:${id}`, () => show(id), "link")),
      el("td", {}, el("span", { class: `state-${thread.state}` }, askedIn.has(id) ? "waits for a person" : thread.state)),
      el("td", {}, nearest ? bar(nearest) : "no limit"),
      el("td", { class: "number" }, usd(thread.budget.spent.cost_nanousd, thread.budget.unpriced_calls)),
      el("td", { class: "number" }, count(thread.budget.spent.tokens)),
      el("td", { class: "do" }, ...actions));
  }));
  refocus(focused);
}

function drawAgents(groups, team) {
  const states = team.filter((agent) => agent.state !== "running" || agent.mailbox).map((agent) =>
    el("p", {}, `${agent.name}: `, el("span", { class: `state-${agent.state}` }, agent.state), `, ${agent.mailbox} waiting `,
      agent.state === "running" ? null : button("let it go on", `agent:${agent.name}`, () => confirm(`Let ${agent.name} take messages again?`, "Let it",
        () => order("POST", `/v1/agents/${agent.name}/resume`), `${agent.name} goes on`))));
  $("agents").replaceChildren(breakdown(groups), ...states);
}

async function show(id) {
  chosen = id;
  await drawThread();
  $("thread-title").focus();
  $("thread").scrollIntoView({ block: "start" });
}

async function drawThread() {
  let detail;
  try {
    detail = await ask(`/v1/threads/${chosen}`, $("content").checked ? { content: "true" } : {});
  } catch (error) {
    say(error.message);
    chosen = null;
    $("thread").hidden = true;
    return;
  }
  const { thread, budgets, tree, messages } = detail;
  $("thread").hidden = false;
  $("thread-title").textContent = `Thread ${thread.thread_id}`;
  const labels = Object.entries(thread.labels).map(([name, value]) => `${name}=${value}`).join(" ");
  $("thread-facts").replaceChildren(el("span", { class: `state-${thread.state}` }, thread.state), labels ? ` · ${labels}` : "",
    tree.length ? ` · ${tree.length} child threads` : "", thread.reason ? ` · ${thread.reason}` : "",
    thread.blocked_by ? el("span", { class: "blocked-by" }, ` · ${thread.blocked_by.note || `waits for ${thread.blocked_by.dimension} of ${thread.blocked_by.account}`}`) : "");
  $("thread-budgets").replaceChildren(...budgets.flatMap((budget) => bars(budget, scope(budget.account))));
  $("flow").replaceChildren(sequence(messages));
  $("flow-list").replaceChildren(...messages.map((hop) => el("li", {},
    `${hop.recalled ? `${hop.sender}, before the daemon was started anew` : `${hop.sender} to ${hop.recipient}: ${hop.message_type || "a message"}`}` +
    (hop.calls ? `, ${usd(hop.cost_nanousd)}, ${count(hop.tokens)} tokens` : ""),
    hop.text === null ? null : el("blockquote", {}, hop.text))));
}

function button(label, key, onclick, kind = "", about = key.split(":")[1]) {
  return el("button", { type: "button", class: kind, "data-key": key, "aria-label": kind === "link" ? `show ${label}` : `${label} ${about}`, onclick }, label);
}

function say(text) {
  $("said").textContent = text;
}

/** Ask first; the answer that does nothing has the focus. */
function confirm(question, yes, act, done, noted = false) {
  const dialog = $("confirm");
  $("confirm-note-line").hidden = !noted;
  $("confirm-note").value = "";
  $("confirm-question").textContent = question;
  $("confirm-yes").textContent = yes;
  dialog.returnValue = "";
  dialog.onclose = async () => {
    if (dialog.returnValue !== "yes") return;
    try {
      await act($("confirm-note").value);
      say(done);
    } catch (error) {
      say(error.message);
    }
    await refresh();
  };
  dialog.showModal();
}

if (takeSession()) begin().catch(() => login("The session has ended. Open it again."));
else login();
