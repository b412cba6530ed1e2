"""The metrics of a node for a scraper: its partitions, what it passes on, its parts of shared limits."""

from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Any

from organism.amounts import NANOUSD_PER_USD, ZERO, Amounts
from organism.amounts.account import Account
from organism.amounts.units import positive
from organism.app import Organism
from organism.cluster.node import ClusterNode
from organism.concurrency.loop_time import loop_time
from organism.telemetry.metrics import node_instruments as n
from organism.telemetry.metrics.instruments import Instrument

_Reading = tuple[Instrument, float, tuple[str, ...]]


class NodeMetrics:
    """Renders what a node counts.

    Args:
        node: It.
    """

    def __init__(self, node: ClusterNode) -> None:
        from prometheus_client import CollectorRegistry

        self._node = node
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def render(self, accept: str = "") -> bytes:
        """Return the page for a scraper with this ``Accept`` header."""
        from prometheus_client.exposition import choose_encoder

        encode, _ = choose_encoder(accept)
        return encode(self._registry)

    def collect(self) -> Iterator[Any]:
        """Yield one family per instrument; part of the collector protocol of Prometheus' client."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        families: dict[str, Any] = {}
        for instrument, value, labels in self._readings():
            family = families.get(instrument.name)
            if family is None:
                kind = CounterMetricFamily if instrument.kind == "counter" else GaugeMetricFamily
                family = kind(instrument.prometheus_name, instrument.help, labels=instrument.prometheus_labels)
                families[instrument.name] = family
            family.add_metric((self._node.name, *labels), value)
        yield from families.values()
        counts, took = self._node.counts, n.FORWARD_SECONDS
        bounds = (*took.bounds, float("inf"))
        sums = accumulate(counts.forward_s[bound] for bound in bounds)
        buckets = [
            ("+Inf" if bound == float("inf") else str(bound), total) for bound, total in zip(bounds, sums, strict=True)
        ]
        histogram = HistogramMetricFamily(took.prometheus_name, took.help, labels=took.prometheus_labels)
        histogram.add_metric((self._node.name,), buckets, counts.forward_sum_s)
        yield histogram

    def _readings(self) -> Iterator[_Reading]:
        node, counts = self._node, self._node.counts
        yield n.PARTITIONS, len(node.organisms), ()
        yield n.TAKEN, counts.taken, ()
        yield from ((n.ENDED, counts.ended[reason], (reason,)) for reason in ("handed_over", "fenced", "failed"))
        yield n.LEASE_AGE, loop_time() - counts.renewed_s, ()
        yield n.RENEWALS_FAILED, counts.renewals_failed, ()
        yield n.TOKEN_LOOKS_FAILED, counts.token_looks_failed, ()
        yield from ((n.FORWARDS, counts.forwards[result], (result,)) for result in ("answered", "untouched", "unknown"))
        yield n.SLICE_STATEMENTS, node.escrow.statements, ()
        yield from _slices(node.organisms.values())
        missing = node.view.missing_labels
        yield from ((n.LABEL_MISSING, float(label in missing), (label,)) for label in node.layout.labelled)
        yield n.CONFIGURATION_DIFFERS, float(node.view.differs(node.view.node(node.name))), ()
        yield n.RATES_FAILED, node.rates.failures, ()
        for provider, shares in node.rates.shares.items():
            yield n.RATES_UNREADABLE, float(provider in node.rates.unreadable), (provider,)
            yield from ((n.PROVIDER_SHARE, most, (provider, unit)) for unit, most in shares.items())


def _slices(organisms: Iterable[Organism]) -> Iterator[_Reading]:
    """Add up the slices of each scope; there are as many scopes as there are limits in the configuration."""
    sums: dict[str, tuple[Amounts, Amounts]] = {}
    for organism in organisms:
        for account in organism.ledger.accounts:
            balance = organism.ledger.balance(account)
            if balance.slice is not None:
                scope = Account.parse(account).metric_label
                has, unused = sums.get(scope, (ZERO, ZERO))
                free = positive(balance.slice - balance.spent_by(organism.clock.now_ns) - balance.held_now)
                sums[scope] = has + balance.slice, unused + free
    for scope, (has, unused) in sums.items():
        for amounts, usd, tokens, calls in (
            (has, n.SLICE_USD, n.SLICE_TOKENS, n.SLICE_CALLS),
            (unused, n.UNUSED_USD, n.UNUSED_TOKENS, n.UNUSED_CALLS),
        ):
            yield usd, amounts.cost_nanousd / NANOUSD_PER_USD, (scope,)
            yield tokens, amounts.tokens, (scope,)
            yield calls, amounts.calls, (scope,)
