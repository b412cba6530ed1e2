// What lists and pages of threads share: what a thread waits for, the button that answers it, and orders to threads.

import { order } from "../lib/api.js";
import { amount, limitsRead, limitsWritten } from "../lib/format.js";
import { link } from "../lib/router.js";
import { scope } from "../lib/scopes.js";
import { html } from "../lib/view.js";
import { Do, State } from "./bits.js";
import { NOTE, act, limitFields } from "./dialog.js";

export const OPEN = ["open", "blocked", "paused", "closing", "dormant"];
export const ENDED = ["completed", "failed", "terminated"];
export const hasEnded = (thread) => ENDED.includes(thread.state);

const WORDS = {
  budget: "waits for budget", person: "waits for a person", child: "waits for a child", provider: "at a provider",
  freeze: "spending is frozen", breaker: "stopped by a breaker", operator: "paused",
};

/** What a thread waits for: as the daemon says, or as its other fields tell. */
export function waitsFor(thread, asked = []) {
  if (thread.waiting) return thread.waiting;
  if (asked.some((one) => one.thread_id === thread.thread_id)) return "person";
  if (thread.blocked_by) return { limit: "budget", approval: "person" }[thread.blocked_by.cause] ?? thread.blocked_by.cause;
  return "";
}

/** The state of a thread in words: what it waits for where it waits, else what it does. */
export function ThreadState({ thread, asked }) {
  const waiting = hasEnded(thread) ? "" : waitsFor(thread, asked);
  const words = thread.state === "paused" && waiting !== "breaker" ? "paused" : WORDS[waiting] ?? thread.state;
  return html`<${State} state=${waiting === "provider" || !waiting ? thread.state : "blocked"}>${words}<//>`;
}

/** Why a thread waits, with every number there is. */
export function reason(thread) {
  const refusal = thread.blocked_by;
  if (!refusal) return thread.reason ?? "";
  if (refusal.note) return refusal.note;
  const left = Math.max(0, refusal.limit - refusal.kept - refusal.spent - refusal.held);
  return `${scope(refusal.account)}: ${amount(refusal.dimension, left)} left of ${amount(refusal.dimension, refusal.limit)}; ` +
    `the call needs ${amount(refusal.dimension, refusal.needed)}`;
}

/** The button that answers what a thread waits for. */
export function Remedy({ thread, asked = [] }) {
  const id = thread.thread_id;
  const questions = asked.filter((one) => one.thread_id === id);
  if (questions.length) return questions.map((one) => html`<${Answers} key=${one.id} asked=${one} />`);
  if (hasEnded(thread)) return null;
  const refusal = thread.blocked_by;
  const waiting = waitsFor(thread, asked);
  if (waiting === "budget" && refusal) {
    return html`<${Do} kind="primary" about=${`of ${scope(refusal.account)} for ${id}`} onClick=${() => raise(refusal.account)}>raise 25 %<//>`;
  }
  if (waiting === "freeze") return html`<a class="button" href=${link("overview")}>see the freeze</a>`;
  if (waiting === "child" && thread.children.length) {
    return html`<a class="button" href=${link("threads", [thread.children[0]])}>open the child</a>`;
  }
  if (thread.state === "paused") return html`<${Do} kind="primary" about=${id} onClick=${() => pause(thread)}>resume<//>`;
  return null;
}

/** What is asked: the use of something, or to do something. */
export const asksFor = ({ what }) => (what.startsWith("to ") ? html`asks to <strong>${what.slice(3)}</strong>` : html`asks for <strong>${what}</strong>`);

export function Answers({ asked }) {
  const about = `${asked.what} of ${asked.agent}`;
  const answer = (allowed, word) => act({
    question: allowed ? `Allow ${about}, exactly as it is shown?` : `Deny ${about}?`, yes: `${word} it`, danger: !allowed, fields: [NOTE],
    order: ({ note }) => order("POST", `/v1/approvals/${asked.id}`, { allowed, note }), done: `${about} ${allowed ? "allowed" : "denied"}` });
  return html`<span class="row">
    <${Do} kind="primary" about=${about} onClick=${() => answer(true, "Allow")}>allow<//>
    <${Do} kind="danger" about=${about} onClick=${() => answer(false, "Deny")}>deny<//></span>`;
}

export const raise = (account) => act({
  question: `Raise every limit of ${scope(account)} by 25 %?`, yes: "Raise it",
  order: () => order("POST", `/v1/budgets/${encodeURIComponent(account)}/move`, { percent: 25 }), done: `limits of ${scope(account)} raised` });

export const setLimits = (budget) => act({
  question: `New limits of ${scope(budget.account)}; an empty field is no limit.`, yes: "Set them", fields: limitFields(limitsWritten(budget.limits)),
  order: (fields) => order("PUT", `/v1/budgets/${encodeURIComponent(budget.account)}/limits`, limitsRead(fields)),
  done: `limits of ${scope(budget.account)} set` });

export function pause(thread) {
  const id = thread.thread_id;
  const verb = thread.state === "paused" ? "resume" : "pause";
  return act({ question: `${verb === "pause" ? "Pause" : "Resume"} ${id} and its children?`, yes: verb,
    order: () => order("POST", `/v1/threads/${id}/${verb}`), done: `${id}: ${verb} ordered` });
}

export const end = (thread) => act({
  question: `End ${thread.thread_id} and its children now? What runs is charged; nothing can be resumed.`, yes: "End it", danger: true,
  order: () => order("DELETE", `/v1/threads/${thread.thread_id}`), done: `${thread.thread_id} ended` });

export function ThreadOrders({ thread }) {
  if (hasEnded(thread)) return null;
  const id = thread.thread_id;
  return html`<span class="row">
    <${Do} about=${id} onClick=${() => raise(thread.budget.account)}>raise 25 %<//>
    <${Do} about=${id} onClick=${() => pause(thread)}>${thread.state === "paused" ? "resume" : "pause"}<//>
    <${Do} kind="danger" about=${id} onClick=${() => end(thread)}>end<//></span>`;
}
