// Events in words.

import { amount, count, labelsInWords, tokensOf, unit, usd } from "./format.js";
import { scope } from "./scopes.js";

const ORDERS = {
  "thread.open": "opened the thread", "thread.send": "wrote into the thread", "thread.pause": "paused the thread", "thread.resume": "let the thread go on",
  "thread.terminate": "ended the thread", "agent.pause": "paused the agent", "agent.resume": "let the agent go on", "approval.decide": "answered a question",
  "budget.limits": "set limits", "budget.adjust": "corrected what is spent", "letter.retry": "sent a dead letter again", "letter.discard": "discarded a dead letter",
  "token.make": "made the key", "token.limit": "limited the key", "token.revoke": "revoked the key", freeze: "froze spending", unfreeze: "let spending go on",
  mode: "changed the mode", drain: "stopped taking threads", accept: "takes threads again", reload: "read the configuration again", stop: "ordered the end",
};

/** What an operator has ordered, in words. */
export const ordered = (action) => ORDERS[action] ?? action;

const of = (labels) => (Object.keys(labels).length ? ` of ${labelsInWords(labels)}` : "");

const WORDS = {
  UsageEvent: (event) => {
    const cost = event.cost_nanousd === null ? "unknown cost" : usd(event.cost_nanousd);
    if (event.tool) return `${event.agent} used ${event.tool}, ${cost}`;
    return `${event.agent} used ${count(tokensOf(event.usage))} tokens of ${event.model}, ${cost}${event.outcome === "settled" ? "" : ` (${event.outcome})`}`;
  },
  ThresholdCrossed: (event) => `${event.agent} reached ${event.threshold} % of ${scope(event.account)} (${unit(event.dimension)})`,
  SpendingFrozen: (event) => `${event.by} has frozen spending${of(event.labels)}`,
  SpendingUnfrozen: (event) => `${event.by} lets spending go on${of(event.labels)}`,
  BreakerTripped: (event) => `${event.agent}: ${event.text}${event.action ? `; ${event.action}` : ""}`,
  BudgetExceeded: (event) => `${scope(event.shortfall.account)} ${event.enforced ? "refused" : "would refuse"} ${event.agent}`,
  ThreadOpened: (event) => `thread opened by ${event.opened_by} for ${event.entry}`,
  ThreadBlocked: (event) => `${event.agent} waits for ${scope(event.shortfall.account)}`,
  ThreadResumed: () => "thread goes on",
  ThreadClosed: (event) => `thread ${event.outcome}, ${usd(event.budget.spent.cost_nanousd)}`,
  ApprovalRequested: (event) => `${event.agent} asks for ${event.what}`,
  ApprovalDecided: (event) => `${event.what} of ${event.agent} ${event.allowed ? "allowed" : "denied"}`,
  LimitChanged: (event) => `limits of ${scope(event.account)} changed`,
  BudgetAdjusted: (event) => `${scope(event.account)} corrected by ${amount("usd", event.amounts.cost_nanousd)}: ${event.reason}`,
  LLMRetry: (event) => `${event.agent} tries ${event.next_provider} again: ${event.reason}`,
  LLMFailover: (event) => `${event.model} goes from ${event.from_provider} to ${event.to_provider}`,
  ModelDegraded: (event) => `${event.agent} gets ${event.to_model} for ${event.model}: ${event.threshold} % of ${scope(event.account)}`,
  OperatorAction: (event) => `${event.by} ${ordered(event.action)}${event.target && event.target !== event.thread_id ? `: ${event.target}` : ""}`,
  PartitionMoved: (event) => `node ${event.node} has ${event.change.replace("_", " ")} partition ${event.partition}`,
  AgentStopped: (event) => `${event.agent} stopped: ${event.reason}`,
  EventLoopBlocked: (event) => `${event.agent || "code"} held up everything for ${(event.blocked_ns / 1e9).toFixed(1)} s at ${event.where}`,
  DeadLetter: (event) => `message to ${event.recipient} given up on: ${event.reason}`,
  AgentSaid: () => "",
};

/** One line for an event; empty for those that are not worth one. */
export const describe = (event) => (event.type in WORDS ? WORDS[event.type](event) : event.type);
