"""Answers of several partitions become the answer of the whole. Pure.

Each partition is an organism of its own, so most of it is addition. What is the same in all, such as settings, is
taken from the first. Lists are ordered and cut anew: each part has the first of its own only.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import partial, reduce
from heapq import nlargest
from operator import add
from typing import Any, TypeVar
from urllib.parse import parse_qs

import msgspec
from msgspec.structs import asdict, astuple, replace

from organism.amounts import Amounts, BudgetState, TokenUsage
from organism.budget.guards.freezes import Freeze, Frozen
from organism.cluster.routing.metrics_text import merged_metrics
from organism.control.listing.account_page import ACCOUNTS_MAX, SCOPED_MAX, fullness, next_page
from organism.control.listing.thread_list import ThreadOrder, cursor_at
from organism.control.views import (
    AccountState,
    AgentView,
    Burn,
    Flow,
    Letter,
    OrderDone,
    OrganismStatus,
    ThreadCounts,
    ThreadPage,
    ThreadSummary,
    Usage,
    fastest,
)
from organism.threads.approvals import Approval, each_once
from organism.usage.cursors import SetAside
from organism.usage.series import OTHERS, Series, UsageSeries
from organism.usage.series import SHOWN_MAX as SERIES_MAX
from organism.usage.totals import Latency, UsageTotals

T = TypeVar("T")
S = TypeVar("S", bound=BudgetState)


class GatheredAnswers(msgspec.Struct, frozen=True):
    """What the partitions of a cluster have answered, each with success.

    Attributes:
        bodies: By partition.
        query: The request's, without the question mark.
        unanswered: The parts that did not.
        nodes: What the nodes that have them have added of themselves.
    """

    bodies: Mapping[int, bytes]
    query: str = ""
    unanswered: tuple[str, ...] = ()
    nodes: tuple[bytes, ...] = ()

    def read(self, kind: type[T]) -> list[T]:
        """Return the answers as what they are, in the order of their partitions."""
        return [msgspec.json.decode(body, type=kind) for _, body in sorted(self.bodies.items())]

    @property
    def is_object(self) -> bool:
        """Whether the answers are objects, and no lists."""
        return self.bodies[min(self.bodies)][:1] == b"{"

    def asked(self, name: str, otherwise: str) -> str:
        """Return a parameter of the query."""
        return parse_qs(self.query).get(name, [otherwise])[-1]

    def limit(self, otherwise: int) -> int:
        """Return how many are asked for at most: a whole number, or the parts would have refused it."""
        return int(self.asked("limit", str(otherwise)))


class MergedAnswer(msgspec.Struct, frozen=True):
    """The answer of the whole.

    Attributes:
        body: As it is sent.
        link: Its ``Link`` header; empty for none.
    """

    body: bytes
    link: str = ""


def merged(path: str, gathered: GatheredAnswers) -> MergedAnswer:
    """Return the answer of the whole.

    Args:
        path: What was asked for.
        gathered: The answers; there is at least one.
    """
    merge = next((merge for begin, merge in _MERGES.items() if path == begin or path.startswith(f"{begin}/")), _first)
    found = merge(gathered)
    if isinstance(found, MergedAnswer):
        return found
    return MergedAnswer(found if isinstance(found, bytes) else msgspec.json.encode(found))


def _first(gathered: GatheredAnswers) -> bytes:
    return gathered.bodies[min(gathered.bodies)]


def _listed(kind: type[T], key: Callable[[T], Any], gathered: GatheredAnswers) -> list[T]:
    found = sorted((each for part in gathered.read(list[kind]) for each in part), key=key)  # type: ignore[valid-type]
    return found[: gathered.limit(len(found))]


def _approvals(gathered: GatheredAnswers) -> list[Approval]:
    """List each question once: what is asked about a limit that all share waits in many partitions."""
    found = each_once(each for part in gathered.read(list[Approval]) for each in part)
    return list(found[: gathered.limit(len(found))])


def _threads(gathered: GatheredAnswers) -> ThreadPage:
    pages = gathered.read(ThreadPage)
    sort: ThreadOrder = gathered.asked("sort", "opened")  # type: ignore[assignment]
    ascending, limit = gathered.asked("order", "desc") == "asc", gathered.limit(100)

    def place(thread: ThreadSummary) -> tuple[int, int, str]:
        first = {"spent": thread.budget.spent.cost_nanousd, "activity": thread.active_ns}
        return first.get(sort, thread.opened_ns), thread.opened_ns, thread.thread_id

    found = sorted((thread for page in pages for thread in page.threads), key=place, reverse=not ascending)
    shown, last, cursor = tuple(found[:limit]), None, None
    if shown and (len(found) > limit or any(page.next is not None for page in pages)):
        last = shown[-1].thread_id
        cursor = cursor_at(sort, *place(shown[-1]), ascending=ascending)
    return ThreadPage(shown, last, cursor, sum(page.total for page in pages), gathered.unanswered)


def _agents(gathered: GatheredAnswers) -> list[AgentView]:
    def both(one: AgentView, other: AgentView) -> AgentView:
        sums = ("mailbox", "mailbox_max", "bytes", "handlers", "handlers_max", "handlers_waiting")
        worst = next(
            (each for each in (one, other) if each.state == "failed"), one if one.state != "running" else other
        )
        usage = one.usage or other.usage if None in (one.usage, other.usage) else _totals([one.usage, other.usage])
        added = {name: getattr(one, name) + getattr(other, name) for name in sums}
        flows = _by_name((*one.flows, *other.flows), lambda each: (each.sender, each.recipient), _flows_together)
        return replace(one, state=worst.state, reason=worst.reason, usage=usage, flows=tuple(flows), **added)

    return _by_name((each for part in gathered.read(list[AgentView]) for each in part), lambda each: each.name, both)


def _flows_together(one: Flow, other: Flow) -> Flow:
    return replace(one, messages=one.messages + other.messages, last_minute=one.last_minute + other.last_minute)


def _by_name(found: Iterable[T], name: Callable[[T], Hashable], both: Callable[[T, T], T]) -> list[T]:
    known: dict[Hashable, T] = {}
    for each in found:
        known[name(each)] = both(known[name(each)], each) if name(each) in known else each
    return list(known.values())


def account_of_all(one: S, other: S) -> S:
    """Merge what two partitions say of an account that all share: each knows the whole, and what it holds itself."""
    return replace(
        one,
        limits=one.limits if one.revision >= other.revision else other.limits,
        spent=Amounts(*(max(pair) for pair in zip(astuple(one.spent), astuple(other.spent), strict=True))),
        held=one.held + other.held,
        revision=max(one.revision, other.revision),
        unpriced_calls=one.unpriced_calls + other.unpriced_calls,
        resets_ns=max(one.resets_ns or 0, other.resets_ns or 0) or None,
    )


def _accounts(found: Iterable[AccountState]) -> list[AccountState]:
    return _by_name(found, lambda each: each.account, account_of_all)


def _budgets(gathered: GatheredAnswers) -> MergedAnswer | AccountState:
    if gathered.is_object:
        return reduce(account_of_all, gathered.read(AccountState))
    found = _accounts(each for part in gathered.read(list[AccountState]) for each in part)
    # A part that has more has shown as many names as are asked for. So the cut is never behind the last of them, where
    # that part may have accounts, or a share of them, that it has not shown yet.
    limit = gathered.limit(ACCOUNTS_MAX)
    page = sorted(found, key=lambda each: each.account)[:limit]
    query = parse_qs(gathered.query)
    link = next_page(page, query.get("scope", ()), gathered.asked("search", ""), limit)
    return MergedAnswer(msgspec.json.encode(page), link)


def _totals(found: Sequence[UsageTotals | None]) -> UsageTotals:
    """Add sums up; a percentile of the whole is at most the largest of the parts', and that is shown."""
    parts = [each for each in found if each is not None]
    calls = sum(each.calls for each in parts)
    outcomes: dict[Any, int] = {}
    for each in parts:
        for outcome, number in each.outcomes.items():
            outcomes[outcome] = outcomes.get(outcome, 0) + number
    latencies = [each.latency for each in parts]
    return UsageTotals(
        calls=calls,
        attempts=sum(each.attempts for each in parts),
        usage=reduce(lambda one, other: one + other, (each.usage for each in parts), TokenUsage()),
        cost_nanousd=sum(each.cost_nanousd for each in parts),
        unpriced_calls=sum(each.unpriced_calls for each in parts),
        latency=Latency(
            average_ns=sum(each.latency.average_ns * each.calls for each in parts) // calls if calls else 0,
            p50_ns=max(each.p50_ns for each in latencies),
            p95_ns=max(each.p95_ns for each in latencies),
            max_ns=max(each.max_ns for each in latencies),
        ),
        outcomes=outcomes,
        tool_uses=sum(each.tool_uses for each in parts),
        tool_nanousd=sum(each.tool_nanousd for each in parts),
    )


def _usage(gathered: GatheredAnswers) -> Usage:
    parts = gathered.read(Usage)
    groups: dict[str, list[UsageTotals]] = {}
    for part in parts:
        for name, totals in part.groups.items():
            groups.setdefault(name, []).append(totals)
    names = sorted(groups) if parts[0].by == "day" else list(groups)
    summed = {name: _totals(groups[name]) for name in names}
    return Usage(_totals([part.total for part in parts]), parts[0].by, summed, gathered.unanswered)


def _series(gathered: GatheredAnswers) -> UsageSeries:
    parts = gathered.read(UsageSeries)
    first = max(parts, key=lambda part: part.starts_ns[-1:] or (0,))
    places = {start: place for place, start in enumerate(first.starts_ns)}
    both: Callable[[int, int], int] = max if first.measure == "latency" else add
    lines: dict[str, list[int]] = {}
    for part in parts:
        for series in part.series:
            line = lines.setdefault(series.name, [0] * len(places))
            for start, value in zip(part.starts_ns, series.values, strict=False):
                if (place := places.get(start)) is not None:
                    line[place] = both(line[place], value)
    rank = sorted(lines, key=lambda name: (name == OTHERS, -sum(lines[name]), name))
    if len(rank) > SERIES_MAX:
        rank, folded = [*rank[: SERIES_MAX - 1], OTHERS], rank[SERIES_MAX - 1 :]
        lines[OTHERS] = [reduce(both, values) for values in zip(*map(lines.__getitem__, folded), strict=True)]
    shown = tuple(Series(name, tuple(lines[name])) for name in rank)
    return replace(first, series=shown, unanswered=gathered.unanswered)


def _freezes(parts: Sequence[Frozen] | Sequence[OrganismStatus]) -> tuple[Freeze, ...]:
    """Return each freeze once, oldest first: it began when the first part has known it."""
    found: dict[str, Freeze] = {}
    for each in sorted((each for part in parts for each in part.freezes), key=lambda each: each.since_ns):
        found.setdefault(each.scope, each)
    return tuple(found.values())


def _frozen(gathered: GatheredAnswers) -> Frozen:
    parts = gathered.read(Frozen)
    return Frozen(
        freezes=_freezes(parts),
        held=reduce(lambda one, other: one + other, (part.held for part in parts), Amounts()),
        threads=tuple(thread for part in parts for thread in part.threads),
        cancelled=sum(part.cancelled for part in parts),
        unanswered=gathered.unanswered,
    )


def _done(gathered: GatheredAnswers) -> OrderDone:
    return OrderDone(tuple(dict.fromkeys(name for part in gathered.read(OrderDone) for name in part.changed)))


_ADDED = ("dead_letters", "set_aside", "handlers", "handlers_max", "handlers_waiting", "worker_threads", "busy_threads")


def _status(gathered: GatheredAnswers) -> OrganismStatus:
    parts = gathered.read(OrganismStatus)
    given_up: dict[str, int] = {}
    for part in parts:
        for name, number in part.given_up.items():
            given_up[name] = given_up.get(name, 0) + number

    def both(one: Burn, other: Burn) -> Burn:
        sums = {name: getattr(one, name) + getattr(other, name) for name in ("calls", "tokens", "cost_nanousd")}
        return replace(one, **sums)

    counts = [asdict(part.threads) for part in parts]
    burn = _by_name((each for part in parts for each in part.burn), lambda each: each.name, both)
    scoped = _accounts(each for part in parts for each in part.scoped)
    added = {name: sum(getattr(part, name) for part in parts) for name in _ADDED}
    return replace(
        parts[0],
        source=parts[0].source.rpartition(":")[0],
        started_ns=min(part.started_ns for part in parts),
        now_ns=max(part.now_ns for part in parts),
        accepting=any(part.accepting for part in parts),
        threads=ThreadCounts(**{name: sum(each[name] for each in counts) for name in counts[0]}),
        windows=tuple(_accounts(each for part in parts for each in part.windows)),
        scoped=tuple(nlargest(SCOPED_MAX, scoped, key=fullness)),
        usage=_totals([part.usage for part in parts]),
        burn=tuple(sorted(burn, key=fastest)),
        given_up=given_up,
        freezes=_freezes(parts),
        approvals=sum(part.approvals for part in parts),
        unanswered=gathered.unanswered,
        **added,
    )


def _or_done(listed: Callable[[GatheredAnswers], Any], gathered: GatheredAnswers) -> Any:
    """Merge a list, or what an order below the path of that list has changed."""
    return _done(gathered) if gathered.is_object else listed(gathered)


_MERGES: dict[str, Callable[[GatheredAnswers], Any]] = {
    "/metrics": lambda gathered: merged_metrics(gathered.bodies, gathered.nodes),
    "/answer": _first,
    "/v1/usage/series": _series,
    "/v1/usage": _usage,
    "/v1/status": _status,
    "/v1/mode": _status,
    "/v1/drain": _status,
    "/v1/stop": _status,
    "/v1/threads": _threads,
    "/v1/agents": partial(_or_done, _agents),
    "/v1/freeze": _frozen,
    "/v1/budgets": _budgets,
    "/v1/approvals": partial(_or_done, _approvals),
    "/v1/dead-letters": partial(_listed, Letter, lambda each: each.created_ns),
    "/v1/exporters": partial(_or_done, partial(_listed, SetAside, lambda each: each.time_ns)),
}
"""By how the path begins; the first that fits."""

FOUND_ONCE = ("/answer/", "/v1/approvals/", "/v1/budgets/", "/v1/exporters/")
"""Below these paths it is enough that some of the partitions know what is asked for; what ``404`` and ``410`` say."""
