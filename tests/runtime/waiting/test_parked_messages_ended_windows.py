"""What waits for a window that has ended while there was no process goes on with the next one, at once."""

from pathlib import Path

import anyio
import pytest

from organism import BudgetPlan, Context, Limits, Organism, Text, agent
from organism.amounts import NS_PER_S
from organism.budget.scopes import LabelLimits, ScopedLimits
from organism.errors import BudgetExhaustedError
from organism.stores.sqlite import SqliteJournal
from organism.testing import ManualClock, ScriptedProvider

ONE = Limits(calls=1)
PLANS = {
    "hour": BudgetPlan(agents={"caller": ScopedLimits(ONE, "hour")}),
    "day": BudgetPlan(windows={"day": ONE}),
    "rolling": BudgetPlan(labels={"tenant": LabelLimits(each=ScopedLimits(ONE, "6h"))}),
}
NOON_NS = 1_767_268_800 * NS_PER_S
AT_ONCE_S = 10.0
"""Less than the half minute between two looks at what has ended."""


@agent
async def caller(message: Text, ctx: Context) -> Text:
    """Make a call."""
    return Text((await ctx.llm.complete(message.text, max_output_tokens=5)).text)


@pytest.mark.anyio
@pytest.mark.parametrize("per", PLANS)
async def test_a_window_that_ended_while_there_was_no_process_is_seen_at_the_start(tmp_path: Path, per: str) -> None:
    """A process that is started a day later makes the call that was refused, though it may live for a second only."""

    def organism(days: int) -> Organism:
        return Organism(
            [caller],
            models={"m": "p/m"},
            providers={"p": ScriptedProvider()},
            provider_kinds={"p": "local"},
            limits=PLANS[per],
            clock=ManualClock(NOON_NS + days * 86_400 * NS_PER_S),
            journal=SqliteJournal(tmp_path / "journal.db"),
        )

    async with organism(0) as first:
        await first.run("first", labels={"tenant": "acme"})
        await first.open_thread("second", thread_id="t", labels={"tenant": "acme"})
        with pytest.raises(BudgetExhaustedError, match="has 0 calls left of 1 call"):
            await first.wait("t")
    async with organism(0) as same_day:
        with pytest.raises(BudgetExhaustedError, match="has 0 calls left of 1 call"):
            await same_day.wait("t")
    async with organism(1) as next_day:
        with anyio.fail_after(AT_ONCE_S):
            while any(thread.thread_id == "t" for thread in next_day.threads()):  # noqa: ASYNC110 - it may be refused
                await anyio.sleep(0.01)
