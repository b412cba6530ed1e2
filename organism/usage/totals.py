"""Sums over usage events, kept as they come in: constant memory, however long the organism runs."""

from bisect import bisect_left
from collections.abc import Iterable
from operator import add, sub

import msgspec
from msgspec.structs import astuple

from organism.amounts import TokenUsage
from organism.usage.attempts import Outcome
from organism.usage.events import UsageEvent

_BOUNDS_NS = tuple(round(1_000_000 * 1.15**step) for step in range(110))
"""Upper bounds of the latency buckets: from 1 ms to about 70 minutes, each 15 % above the last."""


class Latency(msgspec.Struct, frozen=True):
    """How long attempts took, in nanoseconds; percentiles are exact to 15 %."""

    average_ns: int
    p50_ns: int
    p95_ns: int
    max_ns: int


class UsageTotals(msgspec.Struct, frozen=True, kw_only=True):
    """Sums over usage events.

    Attributes:
        calls: Calls that did work, counted by their attempts that were charged.
        attempts: All attempts, the rejected ones too.
        usage: Tokens charged, by bucket.
        cost_nanousd: Cost in nano-USD of all calls whose price is known.
        unpriced_calls: Calls whose price is not known; with any, the cost is a lower bound.
        latency: How long the charged attempts took.
        outcomes: Attempts by how they were resolved.
        tool_uses: Runs of tools that have a price, and other charges of handlers; none of them is a call or an attempt.
        tool_nanousd: What they cost, which is part of the cost above.
    """

    calls: int
    attempts: int
    usage: TokenUsage
    cost_nanousd: int
    unpriced_calls: int
    latency: Latency
    outcomes: dict[Outcome, int]
    tool_uses: int = 0
    tool_nanousd: int = 0


def remainder(whole: UsageTotals, parts: Iterable[UsageTotals]) -> UsageTotals | None:
    """Return what is in a sum and in none of its parts, or in several of them; ``None`` if that is nothing.

    How long its attempts took is not known: a percentile cannot be taken apart.
    """
    parts = tuple(parts)
    usage = astuple(whole.usage)
    for part in parts:
        usage = tuple(map(sub, usage, astuple(part.usage)))
    rest = UsageTotals(
        calls=whole.calls - sum(part.calls for part in parts),
        attempts=whole.attempts - sum(part.attempts for part in parts),
        usage=TokenUsage(*usage),
        cost_nanousd=whole.cost_nanousd - sum(part.cost_nanousd for part in parts),
        unpriced_calls=whole.unpriced_calls - sum(part.unpriced_calls for part in parts),
        latency=Latency(0, 0, 0, 0),
        outcomes={},
        tool_uses=whole.tool_uses - sum(part.tool_uses for part in parts),
        tool_nanousd=whole.tool_nanousd - sum(part.tool_nanousd for part in parts),
    )
    counted = (rest.calls, *usage, rest.cost_nanousd, rest.tool_uses)
    return rest if any(counted) else None


class SumRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Sums as a journal keeps them.

    Attributes:
        of: The kind of the name: an agent, a day.
        name: The agent, the day.
        usage: Tokens by bucket, in the order of :class:`~organism.amounts.TokenUsage`.
        cost_nanousd: Nano-USD of all calls whose price is known.
        unpriced: Calls whose price is not.
        latency_sum_ns: Nanoseconds that the charged attempts took together.
        latency_max_ns: Nanoseconds that the longest took.
        buckets: Charged attempts in each bucket of latency, by the number of the bucket.
        outcomes: Attempts by how they were resolved.
        tool_uses: Runs of tools and other charges.
        tool_nanousd: Nano-USD of them.
    """

    of: str
    name: str
    usage: tuple[int, int, int, int, int]
    cost_nanousd: int
    unpriced: int
    latency_sum_ns: int
    latency_max_ns: int
    buckets: dict[int, int]
    outcomes: dict[Outcome, int]
    tool_uses: int = 0
    tool_nanousd: int = 0


class RunningTotals:
    """Adds up usage events."""

    __slots__ = (
        "_buckets",
        "_cost",
        "_latency_max",
        "_latency_sum",
        "_outcomes",
        "_tool_nanousd",
        "_tool_uses",
        "_unpriced",
        "_usage",
    )

    def __init__(self) -> None:
        self._usage = [0, 0, 0, 0, 0]
        self._cost = 0
        self._unpriced = 0
        self._latency_sum = 0
        self._latency_max = 0
        self._buckets: dict[int, int] = {}
        self._outcomes: dict[Outcome, int] = {}
        self._tool_uses = self._tool_nanousd = 0

    @classmethod
    def of(cls, record: SumRecord) -> "RunningTotals":
        """Go on from what was kept."""
        totals = cls()
        totals.add_all(record)
        return totals

    def record(self, of: str, name: str) -> SumRecord:
        """Return what is to be kept."""
        inputs, cached, written, output, reasoning = self._usage
        return SumRecord(
            of=of,
            name=name,
            usage=(inputs, cached, written, output, reasoning),
            cost_nanousd=self._cost,
            unpriced=self._unpriced,
            latency_sum_ns=self._latency_sum,
            latency_max_ns=self._latency_max,
            buckets=dict(self._buckets),
            outcomes=dict(self._outcomes),
            tool_uses=self._tool_uses,
            tool_nanousd=self._tool_nanousd,
        )

    def add(self, event: UsageEvent) -> None:
        """Count an event in."""
        if event.tool:
            self._add_tool(event)
            return
        self._outcomes[event.outcome] = self._outcomes.get(event.outcome, 0) + 1
        if event.outcome == "released":
            return
        self._usage = list(map(add, self._usage, astuple(event.usage)))
        if event.cost_nanousd is None:
            self._unpriced += 1
        else:
            self._cost += event.cost_nanousd
        latency_ns = event.latency_ns
        self._latency_sum += latency_ns
        self._latency_max = max(self._latency_max, latency_ns)
        bucket = bisect_left(_BOUNDS_NS, latency_ns)
        self._buckets[bucket] = self._buckets.get(bucket, 0) + 1

    def _add_tool(self, event: UsageEvent) -> None:
        if event.outcome != "released":
            self._tool_uses += 1
            self._tool_nanousd += event.cost_nanousd or 0
            self._cost += event.cost_nanousd or 0
            self._usage[0] += event.usage.input
            self._usage[3] += event.usage.output

    def add_all(self, kept: SumRecord) -> None:
        """Count in all that was added up elsewhere, or by an earlier process."""
        self._usage = list(map(add, self._usage, kept.usage))
        self._cost += kept.cost_nanousd
        self._unpriced += kept.unpriced
        self._latency_sum += kept.latency_sum_ns
        self._latency_max = max(self._latency_max, kept.latency_max_ns)
        self._tool_uses += kept.tool_uses
        self._tool_nanousd += kept.tool_nanousd
        for bucket, number in kept.buckets.items():
            self._buckets[bucket] = self._buckets.get(bucket, 0) + number
        for outcome, number in kept.outcomes.items():
            self._outcomes[outcome] = self._outcomes.get(outcome, 0) + number

    def snapshot(self) -> UsageTotals:
        """Return the sums so far."""
        attempts = sum(self._outcomes.values())
        calls = attempts - self._outcomes.get("released", 0)
        return UsageTotals(
            calls=calls,
            attempts=attempts,
            usage=TokenUsage(*self._usage),
            cost_nanousd=self._cost,
            unpriced_calls=self._unpriced,
            latency=Latency(
                average_ns=self._latency_sum // calls if calls else 0,
                p50_ns=self._percentile(50, calls),
                p95_ns=self._percentile(95, calls),
                max_ns=self._latency_max,
            ),
            outcomes=dict(self._outcomes),
            tool_uses=self._tool_uses,
            tool_nanousd=self._tool_nanousd,
        )

    def _percentile(self, percent: int, calls: int) -> int:
        """Return the upper bound of the bucket that holds the percentile, and never more than the maximum."""
        wanted = -(-calls * percent // 100)
        seen = 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen >= wanted:
                return min(_BOUNDS_NS[bucket], self._latency_max) if bucket < len(_BOUNDS_NS) else self._latency_max
        return 0
