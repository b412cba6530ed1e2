"""A question that waits for budget, and a process that dies while its asker is being told."""

import random
from contextlib import suppress

import anyio
import pytest

from organism import BudgetExhaustedError, Context, Limits, Organism, Text, agent
from organism.errors import UnknownAccountError
from organism.journal import JournalBrokenError
from organism.router.call import RouterSettings
from organism.stores.memory import MemoryJournal
from organism.testing import CrashingJournal, ScriptedProvider, SequentialIds, VirtualClock, run


@agent(peers=["helper"])
async def asker(message: Text, ctx: Context) -> None:
    ctx.reply(await ctx.ask("helper", Text("what?"), timeout_s=30))


@agent()
async def helper(message: Text, ctx: Context) -> Text:
    return Text((await ctx.llm.complete(message.text, max_output_tokens=20)).text)


async def life(kept: MemoryJournal, provider: ScriptedProvider, ids: SequentialIds, groups: int | None) -> bool:
    """Live until the end of the thread, or until killed; whether killed."""
    scope = anyio.CancelScope()
    journal = CrashingJournal(kept, groups=groups, on_crash=scope.cancel)
    with scope, suppress(JournalBrokenError):
        async with Organism(
            [asker, helper],
            models={"main": "scripted/m"},
            providers={"scripted": provider},
            provider_kinds={"scripted": "local"},
            limits=Limits(tokens=15),
            router=RouterSettings(output_min=20),
            clock=VirtualClock(),
            ids=ids,
            journal=journal,
            wait_s=1,
        ) as organism:
            if not kept.load().entries:
                await organism.open_thread("go", thread_id="th")
            await anyio.sleep(100)  # the budget is raised long after the asker's patience has ended
            with suppress(BudgetExhaustedError):
                await organism.wait("th")
            with suppress(UnknownAccountError):
                await organism.set_limits("th", Limits(tokens=200))
            result = await organism.wait("th")
            assert result.outputs == (Text("an answer"),)
            assert organism.dead_letters() == ()
    return journal.crashed


@pytest.mark.parametrize("seed", range(6))
def test_a_question_that_waits_for_budget_is_waited_for_after_a_crash(seed: int) -> None:
    """Whenever the process dies, the asker waits for budget as its question does, and not for a reply in vain."""

    async def main(groups: int) -> bool:
        kept, ids = MemoryJournal(), SequentialIds()
        provider = ScriptedProvider(["an answer"], latency_s=random.Random(seed).choice((0.0, 0.2)))
        killed = await life(kept, provider, ids, groups)
        if killed:
            assert not await life(kept, provider, ids, None)
        return killed

    groups = 0
    while run(main, groups, seed=seed):
        groups += 1
    assert groups > 5
