"""The rows of a table of usage add up to its last, whatever they are of."""

from random import Random

import pytest

from organism.amounts import TokenUsage
from organism.cli.commands.usage import usage_rows
from organism.cli.tables import usage_row
from organism.control.views import By, Usage
from organism.usage.events import UsageEvent
from organism.usage.totals import RunningTotals


def charged(number: int, tool: str = "") -> UsageEvent:
    """Return an event that has cost something odd."""
    return UsageEvent(
        id=str(number), time_ns=1, thread_id="t", root_thread_id="t", agent="a", call_id=str(number), attempt=1,
        provider="p", model="m", request_model="m", response_model="m", price_source="test", latency_ns=1_000,
        usage=TokenUsage(input=number, output=7), cost_nanousd=number * 7_777_777, outcome="settled", tool=tool,
    )  # fmt: skip


@pytest.mark.parametrize("by", ["agent", "model", "tool", "day", "thread", "label"])
@pytest.mark.parametrize("seed", range(5))
def test_rows_add_up_to_the_last(by: By, seed: int) -> None:
    """Calls, tokens and dollars in the rows are those of the row for all, also where something has no name."""
    chance = Random(seed)
    whole = RunningTotals()
    parts: dict[str, RunningTotals] = {}
    for number in range(50):
        event = charged(chance.randrange(1, 1000), chance.choice(["", "search"]))
        whole.add(event)
        names = [f"{chance.choice(['tenant', 'team'])}={chance.randrange(4)}"] if by == "label" else [f"n{number % 7}"]
        if chance.random() < 0.2:
            names = []
        for name in names:
            parts.setdefault(name, RunningTotals()).add(event)
    usage = Usage(whole.snapshot(), by, {name: running.snapshot() for name, running in parts.items()})
    sums = [0, 0, 0, 0]
    for name, totals in usage_rows(usage):
        figures = [totals.calls, totals.usage.total, totals.cost_nanousd, totals.tool_uses]
        if name == "all":
            assert sums == figures
            sums = [0, 0, 0, 0]
        else:
            sums = [a + b for a, b in zip(sums, figures, strict=True)]
    assert name == "all"


def test_nothing_used_is_one_row() -> None:
    """Before the first call there is a sum, and it is nothing."""
    usage = Usage(RunningTotals().snapshot(), "label", {})
    assert [(name, usage_row(totals)[-2]) for name, totals in usage_rows(usage)] == [("all", "$0.00")]
