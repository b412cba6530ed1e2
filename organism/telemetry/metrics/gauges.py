"""What is read off a running organism each time somebody asks: depths, limits, what is open."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Protocol

from organism.amounts import NANOUSD_PER_USD, NS_PER_S, BudgetState, Dimension
from organism.amounts.account import Account
from organism.amounts.units import DIMENSIONS, amount_of, limit_of
from organism.budget.accounts.idle_accounts import latest
from organism.budget.registry import ThreadBudgetRegistry
from organism.journal import Watched
from organism.ledger.ledger import Ledger
from organism.router.call import RouterStatistics
from organism.router.router import LLMRouter
from organism.runtime.pump import PumpStatistics
from organism.runtime.workers.worker_pool import WorkerStatistics
from organism.telemetry.metrics import instruments as i
from organism.telemetry.metrics.metric_mapping import Measurement
from organism.usage.activity import ActivityFeed
from organism.usage.cursors import Cursors
from organism.usage.tracker import TrackerStatistics, UsageTracker


class _Control(Protocol):
    @property
    def cursors(self) -> Cursors: ...


class ObservedOrganism(Protocol):
    """A running organism, as exporters see it; ``organism.app.Organism`` is one."""

    name: str
    usage: UsageTracker
    activity: ActivityFeed
    budgets: ThreadBudgetRegistry
    ledger: Ledger
    router: LLMRouter

    @property
    def provider_kinds(self) -> Mapping[str, str]:
        """The kind of each provider in the price data."""
        ...

    @property
    def journal(self) -> Watched:
        """Where it keeps what happens."""
        ...

    @property
    def agents(self) -> Collection[str]:
        """The names of its agents."""
        ...

    @property
    def providers(self) -> Collection[str]:
        """The names of its providers."""
        ...

    @property
    def control(self) -> _Control:
        """What an operator does to it; it knows what exporters have set aside."""
        ...

    def statistics(self) -> PumpStatistics:
        """Count what is open and what waits."""
        ...


def read_gauges(organism: ObservedOrganism) -> Iterator[Measurement]:
    """Yield a reading of every gauge, and of every counter that the organism itself keeps."""
    yield from _pump(organism.statistics())
    accounts, left_out = latest(organism.ledger.accounts)
    yield from _budgets(tuple(map(organism.budgets.state, accounts)))
    for label, count in left_out.items():
        yield Measurement(i.ACCOUNTS_NOT_READ, count, (label,))
    budgets, tracker = organism.budgets.statistics(), organism.usage.statistics()
    yield Measurement(i.FREEZES, budgets.freezes)
    yield Measurement(i.HOLDS_OPEN, budgets.open_holds)
    yield Measurement(i.CALLS_WAITING, budgets.waiting)
    journal = organism.journal.statistics()
    yield Measurement(i.OUTBOX_LAG, journal.lag_ns / NS_PER_S)
    yield Measurement(i.JOURNAL_PENDING, journal.pending)
    yield from _router(organism.router.statistics())
    yield from _tracker(tracker)
    asides = Counter(aside.exporter for aside in organism.control.cursors.set_aside())
    for exporter, events in asides.items():
        yield Measurement(i.SET_ASIDE, events, (exporter,))


def _router(router: RouterStatistics) -> Iterator[Measurement]:
    yield Measurement(i.ATTEMPTS_OPEN, router.attempts_open)
    for provider, health in router.providers.items():
        yield Measurement(i.CIRCUIT_OPEN, int(health.circuit == "open"), (provider,))
        yield Measurement(i.CALLS_QUEUED, health.waiting, (provider,))


def _tracker(tracker: TrackerStatistics) -> Iterator[Measurement]:
    yield Measurement(i.LISTENER_ERRORS, tracker.callback_errors)
    yield Measurement(i.SUBSCRIBERS_CUT, tracker.cut_off)


def _workers(workers: WorkerStatistics) -> Iterator[Measurement]:
    given_up = sum(workers.given_up.values())
    yield Measurement(i.WORKER_THREADS, max(0, workers.busy - given_up), ("busy",))
    yield Measurement(i.WORKER_THREADS, workers.lent, ("lent",))
    yield Measurement(i.WORKER_THREADS, given_up, ("given_up",))
    yield Measurement(i.WORKER_THREADS_LIMIT, workers.threads)
    yield Measurement(i.WORKER_THREADS_WAITING, workers.waiting)


def _pump(pump: PumpStatistics) -> Iterator[Measurement]:
    yield Measurement(i.THREADS_OPEN, pump.threads - pump.blocked, ("open",))
    yield Measurement(i.THREADS_OPEN, pump.blocked, ("blocked",))
    yield Measurement(i.AGENTS_STOPPED, len(pump.stopped_agents))
    yield from _workers(pump.workers)
    yield Measurement(i.HANDLERS_LIMIT, pump.handlers.limit)
    for agent, mailbox in pump.mailboxes.items():
        yield Measurement(i.MESSAGES, mailbox.accepted, (agent,))
        running, waiting = pump.handlers.of(agent)
        yield Measurement(i.HANDLERS, running, (agent,))
        yield Measurement(i.HANDLERS_WAITING, waiting, (agent,))
        yield Measurement(i.MAILBOX_DEPTH, mailbox.messages, (agent,))
        yield Measurement(i.MAILBOX_SIZE, mailbox.size, (agent,))
        yield Measurement(i.SENDERS_WAITING, mailbox.senders_waiting, (agent,))


def _budgets(states: tuple[BudgetState, ...]) -> Iterator[Measurement]:
    """Yield one reading per scope: of a window the newest, of threads the sum of holds and the fullest."""
    by_scope: dict[str, list[BudgetState]] = {}
    for state in states:
        by_scope.setdefault(Account.parse(state.account).metric_label, []).append(state)
    for scope, all_states in by_scope.items():
        newest = Account.parse(all_states[-1].account)
        one_each = newest.per == "thread" or newest.kind == "label"
        kept = all_states if one_each else all_states[-1:]
        yield Measurement(i.RESERVED_USD, sum(s.held.cost_nanousd for s in kept) / NANOUSD_PER_USD, (scope,))
        yield Measurement(i.RESERVED_TOKENS, sum(s.held.tokens for s in kept), (scope,))
        yield Measurement(i.RESERVED_CALLS, sum(s.held.calls for s in kept), (scope,))
        limits = kept[-1].limits
        if limits.cost_nanousd is not None:
            yield Measurement(i.LIMIT_USD, limits.cost_nanousd / NANOUSD_PER_USD, (scope,))
        if limits.tokens is not None:
            yield Measurement(i.LIMIT_TOKENS, limits.tokens, (scope,))
        if limits.calls is not None:
            yield Measurement(i.LIMIT_CALLS, limits.calls, (scope,))
        for dimension in DIMENSIONS:
            parts = [part for state in kept if (part := _part(state, dimension)) is not None]
            if parts:
                yield Measurement(i.UTILIZATION, max(parts), (scope, dimension))


def _part(state: BudgetState, dimension: Dimension) -> float | None:
    limit = limit_of(state.limits, dimension)
    if limit is None:
        return None
    used = amount_of(state.spent + state.held, dimension, state.elapsed_ns)
    return used / limit if limit else float(used > 0)
