"""What a message waits for may come while its handler still ends: then it does not wait, for nothing would wake it."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from msgspec.structs import replace

from organism import BudgetPlan, Context, Limits, Organism, Text, agent
from organism.amounts import Amounts
from organism.runtime.bounds import Bounds
from organism.stores.sqlite import SqliteJournal
from organism.testing import ScriptedProvider, VirtualClock, run
from organism.threads.approvals import ApprovalNeededError, Decision

Order = Callable[[Organism, str], Awaitable[object]]

THREAD = Limits(tokens=200)
DAY = BudgetPlan(thread=Limits(), windows={"day": Limits(tokens=200)})
TODAY = "organism@day:2026-01-01"


@agent(peers=["clerk"])
async def slow(message: Text, ctx: Context) -> Text:
    """Do what the message says, and take a second to end, also when it is cut short."""
    what, _, rest = message.text.partition(" ")
    try:
        if what == "ask":
            await ctx.ask("clerk", Text(rest), timeout_s=50)
        elif what == "spawn":
            await ctx.spawn("clerk", Text(rest))
        else:
            await ctx.llm.complete("word " * int(rest), max_output_tokens=5)
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(1)
    return Text("done")


@agent()
async def clerk(message: Text, ctx: Context) -> Text:
    """Need a person, or budget."""
    if message.text == "approve":
        await ctx.approval("it")
    else:
        await ctx.llm.complete("word " * int(message.text), max_output_tokens=5)
    return Text("done")


def made(limits: Limits | BudgetPlan = THREAD, **options: Any) -> Organism:
    return Organism(
        [slow, clerk, impatient],
        models={"m": "s/x"},
        providers={"s": ScriptedProvider()},
        provider_kinds={"s": "local"},
        clock=VirtualClock(),
        limits=limits,
        wait_s=1,
        **options,
    )


async def raise_limits(organism: Organism, thread: str) -> None:
    for view in organism.threads():
        await organism.control.set_limits(view.thread_id, Limits(tokens=100_000))


async def audit(organism: Organism, thread: str) -> None:
    await organism.control.set_mode("audit")


async def answer(organism: Organism, thread: str) -> None:
    (approval,) = organism.approvals.waiting()
    await organism.approvals.decide(approval.id, Decision(True))


@pytest.mark.parametrize(
    ("task", "comes"),
    [
        ("call 5000", raise_limits),
        ("call 5000", audit),
        ("ask approve", answer),
        ("ask 5000", raise_limits),
        ("ask 5000", audit),
        ("spawn approve", answer),
        ("spawn 5000", raise_limits),
        ("spawn 5000", audit),
    ],
    ids=lambda each: getattr(each, "__name__", each),
)
def test_what_comes_while_the_handler_ends_is_not_missed(task: str, comes: Order) -> None:
    """Limits, corrections, modes and answers let a message go on, also one that is not put aside yet."""

    async def main() -> None:
        async with made() as organism:
            thread = await organism.open_thread(task)
            await anyio.sleep(0.5)
            await comes(organism, thread)
            with anyio.fail_after(60):
                assert (await organism.wait(thread)).outcome == "completed"

    run(main)


def test_a_correction_is_not_missed() -> None:
    """A credit makes room, also for a message that is not put aside yet."""

    async def main() -> None:
        async with made(DAY) as organism:
            await organism.control.set_limits(TODAY, Limits(tokens=200))
            await organism.control.adjust_budget(TODAY, Amounts(tokens=150), "as the bill says")
            thread = await organism.open_thread("call 30")
            await anyio.sleep(0.5)
            await organism.control.adjust_budget(TODAY, Amounts(tokens=-150), "as the bill says")
            with anyio.fail_after(60):
                assert (await organism.wait(thread)).outcome == "completed"

    run(main)


def test_a_person_s_word_for_another_thread_is_not_missed() -> None:
    """Who would wait at the same threshold goes on, and nobody is asked for what was answered."""

    async def main() -> None:
        async with made(replace(DAY, actions=((50, "approve"), (100, "park")))) as organism:
            await organism.control.set_limits(TODAY, Limits(tokens=200))
            await organism.control.adjust_budget(TODAY, Amounts(tokens=110), "as the bill says")
            asking = await organism.open_thread("5", to="clerk")
            with pytest.raises(ApprovalNeededError, match="waits for a person"):
                await organism.wait(asking)
            ending = await organism.open_thread("call 5")
            await anyio.sleep(0.5)
            await answer(organism, asking)
            with anyio.fail_after(60):
                assert (await organism.wait(ending)).outcome == "completed"
            assert organism.approvals.waiting() == ()

    run(main)


@agent(peers=["clerk"], timeout_s=2)
async def impatient(message: Text, ctx: Context) -> None:
    """Ask, and be cut short meanwhile."""
    await ctx.ask("clerk", message, timeout_s=50)


def test_a_question_whose_asker_is_cut_short_before_a_full_mailbox_is_taken_in() -> None:
    """What was sent is delivered all the same; its thread is not left open for ever."""

    async def main() -> None:
        async with made(bounds=Bounds(mailbox_messages=1, attempts=1)) as organism:
            await organism.control.pause_agent("clerk")
            before = await organism.open_thread("1", to="clerk")
            await organism.control.pause_thread(before)
            await organism.control.resume_agent("clerk")
            thread = await organism.open_thread("1", to="impatient")
            await anyio.sleep(5)
            await organism.control.resume_thread(before)
            with anyio.fail_after(60):
                await organism.wait(thread)

    run(main)


@pytest.mark.parametrize("after_s", [1, 5])
@pytest.mark.parametrize("seed", range(4))
def test_a_process_is_cancelled_while_a_question_is_before_a_full_mailbox(
    seed: int, after_s: float, tmp_path: Path
) -> None:
    """Its end waits for nothing that is stopped along with it, and the next process delivers what was sent."""

    def stored() -> Organism:
        bounds = Bounds(mailbox_messages=1, attempts=1)
        return made(bounds=bounds, journal=SqliteJournal(tmp_path / "journal.db"))

    async def first() -> tuple[str, str]:
        with anyio.CancelScope() as scope:
            async with stored() as organism:
                await organism.control.pause_agent("clerk")
                before = await organism.open_thread("1", to="clerk")
                await organism.control.pause_thread(before)
                await organism.control.resume_agent("clerk")
                thread = await organism.open_thread("1", to="impatient")
                await anyio.sleep(after_s)  # the asker waits, or it is cut short and its question is still there
                scope.cancel()
                await anyio.sleep(1)
        return before, thread

    async def second(before: str, thread: str) -> None:
        async with stored() as organism:
            await organism.control.resume_thread(before)
            with anyio.fail_after(60):
                assert (await organism.wait(before)).outcome == "completed"
                await organism.wait(thread)
            assert not organism.threads()

    ids = run(first, seed=seed)
    run(lambda: second(*ids))
