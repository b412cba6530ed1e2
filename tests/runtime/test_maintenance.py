"""What waits for room in a rolling window of a label that it never fits into."""

import anyio

from organism import Context, Limits, Organism, Text, agent
from organism.budget.scopes import BudgetPlan, LabelLimits, ScopedLimits
from organism.providers.scripted import ScriptedProvider
from organism.testing.virtual_time import VirtualClock, run
from organism.usage.events import BudgetExceeded, ThresholdCrossed

ACCOUNT = "label:tenant=acme@rolling:2h"


@agent()
async def writer(message: Text, ctx: Context) -> Text:
    """Ask for more than there is."""
    return Text((await ctx.llm.complete(message.text, max_output_tokens=16)).text)


def test_what_never_fits_a_rolling_window_is_refused_once_and_can_be_raised() -> None:
    """It is told once and not every minute, with each threshold anew, and an operator finds what to raise."""

    async def main() -> None:
        limits = ScopedLimits(Limits(tokens=20), "2h")
        organism = Organism(
            [writer],
            models={"main": "scripted/m"},
            providers={"scripted": ScriptedProvider(["done"])},
            provider_kinds={"scripted": "local"},
            limits=BudgetPlan(labels={"tenant": LabelLimits(each=limits)}),
            clock=VirtualClock(),
        )
        told: list[object] = []
        organism.usage.subscribe(told.append, BudgetExceeded)
        organism.usage.subscribe(told.append, ThresholdCrossed)
        async with organism:
            await anyio.sleep(30)  # between two looks
            thread = await organism.open_thread("word " * 200, labels={"tenant": "acme"})
            await anyio.sleep(600)
            first = len(told)
            await anyio.sleep(3 * 3600)
            assert len([event for event in told if isinstance(event, BudgetExceeded)]) == 1
            assert len(told) == first
            await organism.control.set_limits(ACCOUNT, Limits(tokens=10_000))
            assert (await organism.wait(thread)).text == "done"

    run(main)
