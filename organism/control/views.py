"""What an operator gets to see: frozen structs, which are also the API's answers."""

from typing import Literal

import msgspec

from organism.amounts import BudgetState
from organism.budget.guards.actions import Action, Actions
from organism.budget.guards.freezes import Freeze
from organism.budget.holds import Mode
from organism.errors import Refusal
from organism.ids import USER
from organism.messages import BudgetWarning
from organism.usage.totals import UsageTotals

ThreadState = Literal["open", "blocked", "paused", "closing", "dormant", "completed", "failed", "terminated"]
"""What a thread does, or how it ended."""

Waiting = Literal["", "budget", "person", "child", "provider", "freeze", "breaker", "operator"]
"""What a thread waits for: a limit, a person's answer, a thread below it, a model's answer, the end of a freeze, an
operator after a breaker has paused it or after a pause. Empty for one that works, or has ended."""

By = Literal["agent", "model", "tool", "thread", "day", "label"]
"""What usage is broken down by."""


class TimedGrant(msgspec.Struct, frozen=True, kw_only=True):
    """Budget that a person has granted for a while; it is part of the limits until then.

    Attributes:
        tokens: So many tokens of the limit.
        cost_nanousd: So many nano-USD of it.
        until_ns: When what is not spent of it goes back, nanoseconds since the Unix epoch.
    """

    tokens: int = 0
    cost_nanousd: int = 0
    until_ns: int


class AccountState(BudgetState, frozen=True, kw_only=True):
    """An account at one instant, and what happens on it as its limits come near.

    Attributes:
        mode: What is done where a limit of it is reached.
        thresholds: Per cent of its limits at which to warn, ascending.
        actions: What happens at which per cent beside a warning, ascending; empty where nothing else does.
        passed: Up to which per cent a person has let it go on.
        warning: The warning that stands, of the limit that is nearest to its end; with ``calls_left`` it came ahead of
            its per cent.
        granted: What of its limits a person has granted for a while, what ends first first.
    """

    mode: Mode = "enforce"
    thresholds: tuple[int, ...] = ()
    actions: Actions = ()
    passed: int = 0
    warning: BudgetWarning | None = None
    granted: tuple[TimedGrant, ...] = ()


class Accepted(msgspec.Struct, frozen=True):
    """What was accepted, durably.

    Attributes:
        thread_id: The thread it is in.
        message_id: The message; ``None`` where it opened the thread.
    """

    thread_id: str
    message_id: str | None = None


class OrderDone(msgspec.Struct, frozen=True):
    """An order was carried out.

    Attributes:
        changed: What it has changed, such as the threads that were paused; empty when nothing had to be.
    """

    changed: tuple[str, ...] = ()


class ThreadSummary(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A thread in a list.

    Attributes:
        opened_ns: When it was opened, as far as this process knows; 0 when it does not.
        opened_by: Who its first message is from: ``user``, or the agent of the parent thread that spawned it.
        closed_ns: When it ended; 0 while it is open.
        queued: Messages that wait or run, by agent.
        parked: Agents whose message waits for budget.
        children: Open child threads.
        blocked_by: The scope that refused, and every number.
        reason: Why it did not complete.
        approvals: The questions to a person that it waits for, by id; those of threads below it too.
        budget: Its own account; the final one once it has ended.
        waiting: What it waits for.
        agents: Those that it began with or that have worked for it, as far as this process knows.
        active_ns: When it was opened, got a message, paid for something or ended last, likewise.
    """

    thread_id: str
    root_thread_id: str
    parent_thread_id: str | None
    state: ThreadState
    budget: BudgetState
    opened_ns: int = 0
    closed_ns: int = 0
    labels: dict[str, str] = {}
    queued: dict[str, int] = {}
    parked: tuple[str, ...] = ()
    children: tuple[str, ...] = ()
    blocked_by: Refusal | None = None
    reason: str | None = None
    opened_by: str = USER
    waiting: Waiting = ""
    agents: tuple[str, ...] = ()
    active_ns: int = 0
    approvals: tuple[str, ...] = ()


class ThreadPage(msgspec.Struct, frozen=True):
    """Some threads, in the order that was asked for.

    Attributes:
        next: Ask for the next page with this as ``after``; ``None`` on the last.
        next_cursor: Or with this as ``cursor``, which stays right while threads come and go; ``None`` on the last.
        total: How many there are on all pages.
        unanswered: Parts of a cluster that did not answer in time, and are not in this.
    """

    threads: tuple[ThreadSummary, ...]
    next: str | None = None
    next_cursor: str | None = None
    total: int = 0
    unanswered: tuple[str, ...] = ()


class Hop(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One message on its way, and what it cost to make.

    Attributes:
        number: Counts the hops this process has seen.
        cost_nanousd: Cost of the calls its sender has made since its last message of this thread.
        tokens: Tokens of these calls.
        calls: How many they were.
        text: What it says; ``None`` unless asked for.
        id: The message's; empty of one that came from outside.
        caused_by: The id of the message whose handling sent it; empty where none did.
        recalled: Whether it is no message, but what its sender spent in a row before this process: the messages of
            then are not kept, what they have cost is.
    """

    number: int
    time_ns: int
    thread_id: str
    root_thread_id: str
    sender: str
    recipient: str
    message_type: str
    cost_nanousd: int = 0
    tokens: int = 0
    calls: int = 0
    text: str | None = None
    id: str = ""
    caused_by: str = ""
    recalled: bool = False


class ThreadDetail(msgspec.Struct, frozen=True):
    """A thread, every account that limits it, its descendants, and its messages between agents, oldest first."""

    thread: ThreadSummary
    budgets: tuple[AccountState, ...]
    tree: tuple[ThreadSummary, ...]
    messages: tuple[Hop, ...]


class Flow(msgspec.Struct, frozen=True, kw_only=True):
    """Messages from one to another.

    Attributes:
        sender: An agent, or ``user``.
        recipient: Likewise.
        messages: How many, since this process began; what waited at its start was counted by the one before.
        last_minute: How many of them in the last minute.
    """

    sender: str
    recipient: str
    messages: int
    last_minute: int


class AgentView(msgspec.Struct, frozen=True, kw_only=True):
    """An agent and what waits for it.

    Attributes:
        state: ``running``; ``paused`` by an operator; ``failed`` after too many failures.
        reason: Why it has failed.
        mailbox: Messages that wait.
        mailbox_max: How many may.
        bytes: Bytes that wait.
        handlers: Runs of its handler that are at work.
        handlers_max: How many may be.
        handlers_waiting: Messages that wait for one of them to end.
        flows: How many messages it has sent to whom, and how many users have sent it.
    """

    name: str
    description: str
    state: Literal["running", "paused", "failed"]
    next: tuple[str, ...]
    mailbox: int
    mailbox_max: int
    bytes: int
    reason: str | None = None
    usage: UsageTotals | None = None
    handlers: int = 0
    handlers_max: int = 0
    handlers_waiting: int = 0
    flows: tuple[Flow, ...] = ()


class Burn(msgspec.Struct, frozen=True, kw_only=True):
    """How fast something is being used up: sums over the last minutes.

    Attributes:
        name: ``total``, ``thread:ID``, ``agent:NAME`` or ``model:NAME``.
        seconds: Over how long.
    """

    name: str
    seconds: int
    calls: int
    tokens: int
    cost_nanousd: int


def fastest(burn: Burn) -> tuple[bool, int, int, str]:
    """Return what sums over the last minutes are sorted by: the whole first, and then what used most."""
    return burn.name != "total", -burn.cost_nanousd, -burn.tokens, burn.name


class ThreadCounts(msgspec.Struct, frozen=True):
    """How many threads are in which state."""

    open: int
    blocked: int
    paused: int


class OrganismStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The organism at one instant.

    Attributes:
        source: Names this organism and its journal in events.
        limits_not_kept: Limits over a time that a restart begins anew, because the journal is in memory.
        started_ns: When this process began to run it.
        accepting: Whether new threads are taken.
        windows: The accounts of the present windows, such as the day.
        scoped: The other accounts with a limit that are no thread's, such as a label's, the nearest to its end first,
            at most 20.
        usage: Sums since the start of this process.
        burn: How fast it is going, the whole first.
        set_aside: Events that an exporter's other side will not take.
        handlers: How many handlers are at work.
        handlers_max: How many may be.
        handlers_waiting: How many messages wait for a handler to end.
        worker_threads: How many plain functions may be at work at once.
        busy_threads: How many are, those included that were given up on.
        given_up: Plain functions that were given up on and have not returned, by agent.
        freezes: What operators have frozen, oldest first.
        approvals: Questions that wait for a person.
        thresholds: What happens at which per cent of limits, by where they stand: ``{"limits": {75: "warn"}}``.
        warn_ahead: Of how many calls is warned ahead.
        unanswered: Parts of a cluster that did not answer in time, and are not in this.
    """

    name: str
    version: str
    source: str
    mode: Mode
    durable: bool
    started_ns: int
    now_ns: int
    accepting: bool
    threads: ThreadCounts
    dead_letters: int
    windows: tuple[AccountState, ...]
    usage: UsageTotals
    burn: tuple[Burn, ...]
    set_aside: int = 0
    handlers: int = 0
    handlers_max: int = 0
    handlers_waiting: int = 0
    worker_threads: int = 0
    busy_threads: int = 0
    given_up: dict[str, int] = {}
    limits_not_kept: tuple[str, ...] = ()
    freezes: tuple[Freeze, ...] = ()
    approvals: int = 0
    scoped: tuple[AccountState, ...] = ()
    thresholds: dict[str, dict[int, Action]] = {}
    warn_ahead: int = 0
    unanswered: tuple[str, ...] = ()


class Usage(msgspec.Struct, frozen=True):
    """Sums of all that is recorded, or of a period, in all and broken down.

    Attributes:
        total: The sums.
        by: What they are broken down by.
        groups: The sums by name.
        unanswered: Parts of a cluster that did not answer in time, and are not in this.
        since_ns: When the period begins, nanoseconds since the Unix epoch; ``None`` for the first event.
        until_ns: When it ends, likewise; ``None`` for the last event.
    """

    total: UsageTotals
    by: By
    groups: dict[str, UsageTotals]
    unanswered: tuple[str, ...] = ()
    since_ns: int | None = None
    until_ns: int | None = None


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter, without what it says unless asked for; ``where`` is ``file:line`` of the code that failed."""

    message_id: str
    thread_id: str
    sender: str
    recipient: str
    message_type: str
    created_ns: int
    reason: str
    detail: str
    where: str | None = None
    text: str | None = None


class Corrected(msgspec.Struct, frozen=True):
    """Every account that a correction counts on, as it is now; the one that was named first."""

    budgets: tuple[BudgetState, ...]


class Reloaded(msgspec.Struct, frozen=True):
    """What a reload has changed, one short phrase each; empty when the file says what is active already."""

    changes: tuple[str, ...]
