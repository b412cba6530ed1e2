"""Counters begin at zero for everything that is known to be possible.

A counter that first appears with a 1 shows no increase to anybody who compares it with what was before; so the first
dead letter, the first refusal, would raise no alarm.
"""

from collections.abc import Iterator
from itertools import product
from typing import get_args

from organism.amounts.units import DIMENSIONS
from organism.messages import ThreadOutcome
from organism.telemetry.metrics import instruments as i
from organism.telemetry.metrics.gauges import ObservedOrganism
from organism.telemetry.metrics.metric_mapping import Measurement
from organism.threads.dead_letters import Reason


def initial_values(organism: ObservedOrganism) -> Iterator[Measurement]:
    """Yield a zero for each label set that is known beforehand."""
    for outcome in ("opened", "blocked", "resumed", *get_args(ThreadOutcome)):
        yield Measurement(i.THREADS, 0, (outcome,))
    for reason in get_args(Reason):
        yield Measurement(i.DEAD_LETTERS, 0, (reason,))
    for refused, dimension in product(("exhausted", "audit"), DIMENSIONS):
        yield Measurement(i.REFUSALS, 0, (refused, dimension))
    yield Measurement(i.REFUSALS, 0, ("freeze", "calls"))
    for threshold, dimension in product(organism.budgets.thresholds, DIMENSIONS):
        yield Measurement(i.WARNINGS, 0, (str(threshold), dimension))
    for provider, doubt in product(organism.providers, ("estimated", "worst_case", "disputed")):
        yield Measurement(i.INCOMPLETE, 0, (provider, doubt))
    for provider in organism.providers:
        yield Measurement(i.OVERRUN_TOKENS, 0, (provider,))
    for agent in organism.agents:
        yield Measurement(i.RESTARTS, 0, (agent,))
    yield Measurement(i.LIMIT_CHANGES, 0)
