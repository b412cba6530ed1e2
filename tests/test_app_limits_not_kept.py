"""An organism whose limits a restart would begin anew says so; with a journal in a file they hold across restarts."""

from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from organism import BudgetPlan, Context, Limits, Organism, ScopedLimits, Text, agent
from organism.budget.scopes import LabelLimits, limits_over_time
from organism.testing import ScriptedProvider, VirtualClock, run

SOME = Limits(tokens=10_000)

PLANS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "threads": ({}, ()),
    "a call": ({"windows": {"call": SOME}}, ()),
    "an agent per thread": ({"agents": {"writer": ScopedLimits(SOME)}}, ()),
    "a day": ({"windows": {"day": SOME}}, ("limits.day",)),
    "hours": ({"windows": {"6h": SOME, "lifetime": SOME}}, ("limits.6h", "limits.lifetime")),
    "an agent": ({"agents": {"writer": ScopedLimits(SOME, "month")}}, ("limits.agents.writer per month",)),
    "a model": ({"models": {"m": ScopedLimits(SOME, "week")}}, ("limits.models.m per week",)),
    "a provider": ({"providers": {"s": ScopedLimits(SOME, "day")}}, ("limits.providers.s per day",)),
    "a label": (
        {"labels": {"tenant": LabelLimits(each=ScopedLimits(SOME, "day"), values={"a": ScopedLimits(SOME, "day")})}},
        ("limits.labels.tenant per day",),
    ),
}


@agent
async def writer(message: Text, ctx: Context) -> Text:
    """Spend a little."""
    await ctx.llm.complete("x", max_output_tokens=20)
    return Text("ok")


def made(limits: BudgetPlan, journal: Any = None) -> Organism:
    return Organism(
        [writer],
        models={"m": "s/x"},
        providers={"s": ScriptedProvider()},
        clock=VirtualClock(),
        limits=limits,
        journal=journal,
    )


@pytest.mark.parametrize("what", PLANS)
@pytest.mark.parametrize("kept", ["memory", "file"])
def test_limits_that_a_restart_begins_anew_are_named_once_at_the_start(what: str, kept: str, tmp_path: Path) -> None:
    """A limit over a time with a journal in memory is a warning and in the status; with a file it is neither."""
    more, named = PLANS[what]
    plan = BudgetPlan(thread=SOME, **more)
    assert limits_over_time(plan) == named

    async def main() -> None:
        expected = named if kept == "memory" else ()
        with capture_logs() as logs:
            async with made(plan, None if kept == "memory" else tmp_path / "journal.db") as organism:
                assert organism.control.status().limits_not_kept == expected
                await organism.run("go")
        told = [line for line in logs if line["event"] == "limits_not_kept"]
        assert [line["limits"] for line in told] == ([list(expected)] if expected else [])

    run(main)


@pytest.mark.parametrize("path_type", [str, Path])
def test_what_was_spent_today_is_known_after_a_restart(path_type: Any, tmp_path: Path) -> None:
    """With the file of a journal, text or path, a day's limit goes on from where the last process left it."""
    spent: list[int] = []

    async def main() -> None:
        async with made(BudgetPlan(windows={"day": SOME}), path_type(tmp_path / "journal.db")) as organism:
            await organism.run("go")
            (day,) = organism.control.status().windows
            spent.append(day.spent.tokens)

    run(main)
    run(main)
    assert spent[1] == 2 * spent[0] > 0
