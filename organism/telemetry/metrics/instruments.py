"""Every metric there is: its name, unit and labels, once for all systems that metrics go to.

Names are OpenTelemetry's, with dots; :attr:`Instrument.prometheus_name` translates them by OpenTelemetry's rules for
Prometheus. Labels never hold a thread's id: what one conversation does is in its trace and in its usage events.
"""

from collections.abc import Iterator
from typing import Literal

import msgspec

from organism.telemetry.conventions import GenAINames

InstrumentKind = Literal["counter", "gauge", "histogram"]

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 60, 120)
CALL_SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
THREAD_SECONDS = (0.01, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 600, 1800, 3600, 14400, 86400)
TOKENS = tuple(float(4**power) for power in range(14))
GROUPS = tuple(float(2**power) for power in range(15))
COUNTS = (0.0, 1, 2, 3, 5, 8, 13, 21, 34, 50, 100)

_SUFFIXES = {"s": "_seconds", "USD": "_usd", "By": "_bytes"}


class Instrument(msgspec.Struct, frozen=True, eq=False):
    """One metric.

    Attributes:
        name: With dots, as OpenTelemetry writes it.
        kind: What it does with numbers.
        unit: A UCUM unit; in braces it is only a word.
        help: One sentence.
        labels: Names of its labels, with dots.
        bounds: Upper bounds of a histogram's buckets.
        kept: Whether the organism itself keeps the value, so that it is read and not added up.
    """

    name: str
    kind: InstrumentKind
    unit: str
    help: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()
    kept: bool = False

    @property
    def prometheus_name(self) -> str:
        """The name in Prometheus, without the ``_total`` that its library puts behind counters."""
        suffix = "_ratio" if self.unit == "1" else _SUFFIXES.get(self.unit, "")
        name = self.name.replace(".", "_")
        return name if name.endswith(suffix) else name + suffix

    @property
    def prometheus_labels(self) -> tuple[str, ...]:
        """The labels' names in Prometheus."""
        return tuple(label.replace(".", "_") for label in self.labels)


_CATALOGUE: list[Instrument] = []


def _defined(instrument: Instrument) -> Instrument:
    _CATALOGUE.append(instrument)
    return instrument


def _counter(name: str, unit: str, text: str, *labels: str) -> Instrument:
    return _defined(Instrument(f"organism.{name}", "counter", unit, text, labels))


def _gauge(name: str, unit: str, text: str, *labels: str) -> Instrument:
    return _defined(Instrument(f"organism.{name}", "gauge", unit, text, labels, kept=True))


def _kept_counter(name: str, unit: str, text: str, *labels: str) -> Instrument:
    return _defined(Instrument(f"organism.{name}", "counter", unit, text, labels, kept=True))


def _histogram(name: str, unit: str, text: str, bounds: tuple[float, ...], *labels: str) -> Instrument:
    return _defined(Instrument(name, "histogram", unit, text, labels, bounds))


# -- money ----------------------------------------------------------------------------------------------------------

SPENT_USD = _counter("budget.spent", "USD", "Dollars settled, by what they count against.", "scope", "agent", "model")
SPENT_TOKENS = _counter(
    "budget.spent_tokens", "{token}", "Tokens settled, by what they count against.", "scope", "agent", "model"
)
SPENT_CALLS = _counter(
    "budget.spent_calls", "{call}", "Calls settled, by what they count against.", "scope", "agent", "model"
)
REFUSALS = _counter("budget.refusals", "{refusal}", "Calls a limit refused, or would have.", "reason", "dimension")
WARNINGS = _counter("budget.warnings", "{warning}", "Thresholds crossed.", "threshold", "dimension")
WARNING_CALLS_LEFT = _histogram(
    "organism.budget.warning.calls_left",
    "{call}",
    "Calls of the present size that fit, where a warning came ahead of its threshold.",
    COUNTS,
    "dimension",
)
OVERRUN_TOKENS = _counter("budget.overrun_tokens", "{token}", "Tokens settled above their hold.", "provider")
INCOMPLETE = _counter(
    "budget.incomplete_settlements",
    "{settlement}",
    "Attempts charged without the provider's own count.",
    "provider",
    "outcome",
)
LIMIT_CHANGES = _counter("budget.limit_changes", "{change}", "Limits changed by an operator.")
ADJUSTED_USD = _counter(
    "budget.adjusted", "USD", "Dollars that corrections added to spend, or took off it.", "scope", "direction"
)
ADJUSTED_TOKENS = _counter(
    "budget.adjusted_tokens", "{token}", "Tokens that corrections added to spend, or took off it.", "scope", "direction"
)
LIMIT_USD = _gauge("budget.limit", "USD", "The ceiling in dollars.", "scope")
LIMIT_TOKENS = _gauge("budget.limit_tokens", "{token}", "The ceiling in tokens.", "scope")
LIMIT_CALLS = _gauge("budget.limit_calls", "{call}", "The ceiling in calls.", "scope")
RESERVED_USD = _gauge("budget.reserved", "USD", "Dollars that open calls hold.", "scope")
RESERVED_TOKENS = _gauge("budget.reserved_tokens", "{token}", "Tokens that open calls hold.", "scope")
RESERVED_CALLS = _gauge("budget.reserved_calls", "{call}", "Calls that are open.", "scope")
UTILIZATION = _gauge(
    "budget.utilization",
    "1",
    "Settled and held part of the limit; of several open threads, the fullest.",
    "scope",
    "dimension",
)
ACCOUNTS_NOT_READ = _gauge(
    "budget.accounts_not_read",
    "{account}",
    "Accounts of a label's values that the gauges leave out: those opened before the last 2,000.",
    "scope",
)
HOLDS_OPEN = _gauge("budget.holds_open", "{hold}", "Holds not yet settled or released.")
BREAKERS = _counter(
    "breaker.trips", "{trip}", "Breakers that have tripped, and what followed.", "agent", "breaker", "action"
)
FREEZES = _gauge("budget.freezes", "{freeze}", "Freezes in force: spending that an operator has stopped.")
CALLS_WAITING = _gauge("budget.calls_waiting", "{call}", "Calls in line for room in a budget.")

# -- model calls ----------------------------------------------------------------------------------------------------

COST_USD = _counter("llm.cost", "USD", "Dollars charged for model calls.", "agent", "model", "provider", "outcome")
TOKENS_USED = _counter("llm.tokens", "{token}", "Tokens charged, in disjoint kinds.", "agent", "model", "type")
ATTEMPTS = _counter("llm.attempts", "{attempt}", "Attempts resolved.", "agent", "model", "provider", "outcome")
UNPRICED = _counter("llm.unpriced_calls", "{call}", "Calls charged whose price is unknown.", "model", "provider")
RETRIES = _counter("llm.retries", "{retry}", "Attempts that followed a failed one.", "agent", "provider")
FAILOVERS = _counter("llm.failovers", "{call}", "Calls that went to another provider.", "provider", "to_provider")
DEGRADED = _counter(
    "llm.degradations", "{call}", "Calls made with a model that spares the budget.", "model", "to_model"
)
TOOL_COST = _counter(
    "tool.cost", "USD", "Dollars charged for tools and by handlers themselves.", "agent", "tool", "outcome"
)
TOOL_USES = _counter("tool.uses", "{use}", "Paid runs of tools, and other charges.", "agent", "tool", "outcome")
CIRCUIT_OPEN = _gauge("provider.circuit_open", "{provider}", "Whether a provider is given a rest: 1, or 0.", "provider")
CALLS_QUEUED = _gauge("provider.attempts_waiting", "{attempt}", "Attempts that wait for a place.", "provider")
ATTEMPTS_OPEN = _gauge("llm.attempts_open", "{attempt}", "Attempts under way.")

_OPERATION = ("gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model")
OLD_TOKEN_USAGE = _histogram(
    "gen_ai.client.token.usage", "{token}", "Tokens per attempt.", TOKENS, *_OPERATION, "gen_ai.token.type"
)
OLD_DURATION = _histogram(
    "gen_ai.client.operation.duration", "s", "Duration of attempts.", CALL_SECONDS, *_OPERATION, "error.type"
)
NEW_DURATION = _histogram(
    "gen_ai.client.inference.duration", "s", "Duration of attempts.", CALL_SECONDS, *_OPERATION, "error.type"
)
_NEW_USAGE = (*_OPERATION, "gen_ai.token.modality")


def _new_tokens(kind: str, text: str) -> Instrument:
    return _defined(Instrument(f"gen_ai.client.inference.usage.{kind}", "counter", "{token}", text, _NEW_USAGE))


NEW_INPUT = _new_tokens("input_tokens", "Billable input tokens, cached ones included.")
NEW_OUTPUT = _new_tokens("output_tokens", "Billable output tokens, reasoning included.")
NEW_CACHE_READ = _new_tokens("cache_read.input_tokens", "Input tokens read from a cache.")
NEW_CACHE_WRITE = _new_tokens("cache_write.input_tokens", "Input tokens written to a cache.")
NEW_REASONING = _new_tokens("reasoning.output_tokens", "Output tokens of reasoning.")
NEW_INPUT_SIZES = _histogram(
    "gen_ai.client.inference.operation.input_tokens", "{token}", "Input tokens per attempt.", TOKENS, *_NEW_USAGE
)
NEW_OUTPUT_SIZES = _histogram(
    "gen_ai.client.inference.operation.output_tokens", "{token}", "Output tokens per attempt.", TOKENS, *_NEW_USAGE
)

# -- the journal ----------------------------------------------------------------------------------------------------

COMMIT_DURATION = _histogram("organism.journal.commit.duration", "s", "How long a group takes to write.", SECONDS)
GROUP_RECORDS = _histogram("organism.journal.group.records", "{record}", "Records written together.", GROUPS)
OUTBOX_LAG = _gauge("outbox.lag", "s", "How long the oldest record waits that is not yet durable.")
JOURNAL_PENDING = _gauge("journal.pending", "{record}", "Records that are not yet durable.")

# -- messages, handlers, threads ------------------------------------------------------------------------------------

MESSAGES = _kept_counter("messages", "{message}", "Messages accepted into a mailbox.", "agent")
HOPS = _histogram("organism.message.hops", "{hop}", "Handlers a message's thread had passed before it.", COUNTS)
MAILBOX_DEPTH = _gauge("mailbox.depth", "{message}", "Messages that wait.", "agent")
MAILBOX_SIZE = _gauge("mailbox.size", "By", "Bytes of payload that wait.", "agent")
SENDERS_WAITING = _gauge("mailbox.senders_waiting", "{sender}", "Senders held up by a full mailbox.", "agent")
HANDLERS = _gauge("handlers", "{handler}", "Handlers that are at work.", "agent")
HANDLERS_LIMIT = _gauge("handlers.limit", "{handler}", "Handlers that may be at work at once.")
HANDLERS_WAITING = _gauge("handlers.waiting", "{message}", "Messages that wait for a handler to end.", "agent")
WORKER_THREADS = _gauge(
    "worker_threads", "{thread}", "Worker threads by what their functions do: busy, lent (waiting), given_up.", "state"
)
WORKER_THREADS_LIMIT = _gauge("worker_threads.limit", "{thread}", "Plain functions that may be at work at once.")
WORKER_THREADS_WAITING = _gauge("worker_threads.waiting", "{function}", "Plain functions that wait for a thread.")
DEAD_LETTERS = _counter("dead_letters", "{message}", "Messages given up on.", "reason")
HANDLER_DURATION = _histogram("organism.handler.duration", "s", "How long handlers run.", SECONDS, "agent", "outcome")
RESTARTS = _counter("handler.restarts", "{run}", "Runs of a handler on a message it had failed on.", "agent")
PHASES = _histogram(
    "organism.agent.phase.duration",
    "s",
    "Where time goes: queued before a run, waiting for budget or a retry, at a provider.",
    SECONDS,
    "agent",
    "phase",
)
APPROVALS = _counter("approvals", "{approval}", "What people were asked, and answered.", "agent", "result")
OPERATOR_ACTIONS = _counter("operator.actions", "{action}", "What was done to the organism from outside.", "action")
DECISIONS = _counter("decisions", "{decision}", "Results that agents reported.", "agent", "name", "result")
LOOP_BLOCKED = _counter(
    "event_loop.blocked", "s", "Seconds for which code that did not await held up the process.", "agent"
)
PARTITION_MOVES = _counter(
    "cluster.partition_moves", "{move}", "What has become of a partition: taken, handed over or lost.", "change"
)
THREADS = _counter("threads", "{thread}", "What has become of threads.", "outcome")
THREAD_DURATION = _histogram(
    "organism.thread.duration", "s", "From a thread's first message to its end.", THREAD_SECONDS, "outcome"
)
THREADS_OPEN = _gauge("threads.open", "{thread}", "Threads that are open.", "status")
AGENTS_STOPPED = _gauge("agents.stopped", "{agent}", "Agents that take no more messages.")
SET_ASIDE = _gauge("exporter.set_aside", "{event}", "Events that another system will not take.", "exporter")
LISTENER_ERRORS = _kept_counter("events.listener_errors", "{error}", "Failures of those who listen to events.")
SUBSCRIBERS_CUT = _kept_counter("events.subscribers_cut_off", "{subscriber}", "Subscribers too slow to keep up.")


def catalogue(names: GenAINames) -> Iterator[Instrument]:
    """Yield every instrument, with one of the two sets of GenAI names."""
    unwanted = "gen_ai.client.inference." if names == "old" else ("gen_ai.client.token.", "gen_ai.client.operation.")
    for instrument in _CATALOGUE:
        if not instrument.name.startswith(unwanted):
            yield instrument
