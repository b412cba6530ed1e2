"""An organism in a program."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from organism import Context, Limits, Organism, Text, agent
from organism.errors import StoppedError
from organism.events import OperatorAction
from organism.journal import JournalError
from organism.testing import run
from organism.threads.approvals import ApprovalNeededError, Decision
from organism.usage.events import AnyEvent


@agent
async def clerk(message: Text, ctx: Context) -> None:
    if message.text == "ask":
        await ctx.approval("a payment")


@agent
async def sleeper(message: Text, ctx: Context) -> None:
    await anyio.sleep_forever()


async def opened(it: Organism) -> None:
    await it.open_thread("hello", thread_id="t")


async def written_to(it: Organism) -> None:
    await it.send("waits", "more")


async def limited(it: Organism) -> None:
    await it.set_limits("waits", Limits(tokens=5))


async def ended(it: Organism) -> None:
    await it.terminate("waits")


async def drained(it: Organism) -> None:
    await it.drain(0)


async def allowed(it: Organism) -> None:
    (approval,) = it.approvals.waiting()
    await it.approvals.decide(approval.id, Decision(allowed=True))


@pytest.mark.parametrize(
    ("order", "action"),
    [
        (opened, "thread.open"),
        (written_to, "thread.send"),
        (limited, "budget.limits"),
        (ended, "thread.terminate"),
        (drained, "drain"),
        (allowed, "approval.decide"),
    ],
)
def test_no_order_goes_by_the_audit(order: Callable[[Organism], Awaitable[None]], action: str) -> None:
    """Whatever a program orders is recorded like an order over the API: who ordered what."""
    rows: list[AnyEvent] = []

    async def act() -> None:
        async with Organism([clerk]) as it:
            await it.open_thread("ask", thread_id="waits")
            with pytest.raises(ApprovalNeededError, match="a payment"):
                await it.wait("waits")
            it.usage.subscribe(rows.append, OperatorAction)

            await order(it)
            await it.journal.commit()
            await it.terminate("waits")

    run(act)

    assert (rows[0].by, rows[0].action) == ("python", action)  # type: ignore[union-attr]


@pytest.mark.anyio
@pytest.mark.parametrize("when", ["before", "after"])
async def test_nobody_waits_for_ever_for_a_thread_of_an_organism_that_has_stopped(tmp_path: Path, when: str) -> None:
    """A thread that stays open for the next process is said to be, to who waits for it then and to who asks later."""
    organism = Organism([sleeper], journal=tmp_path / "journal")
    said: list[str] = []

    async def wait() -> None:
        with pytest.raises(
            StoppedError, match="thread 't' is still open: it goes on when the organism runs again"
        ) as no:
            await organism.wait("t")
        said.append(no.value.thread_id)

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            async with organism:
                await organism.open_thread("hello", thread_id="t")
                if when == "before":
                    tasks.start_soon(wait)
                    await anyio.wait_all_tasks_blocked()
            if when == "after":
                await wait()
    assert said == ["t"]


@pytest.mark.parametrize("kept", [False, True])
def test_an_organism_that_has_run_is_not_started_again(kept: bool, tmp_path: Path) -> None:
    """A second start is refused with what to do, while the first runs and after it; it neither hangs nor takes work."""

    @run
    async def _() -> None:
        it = Organism([sleeper], journal=tmp_path / "journal.db" if kept else None)
        async with it:
            with pytest.raises(RuntimeError, match="runs once: make another"):
                await it.__aenter__()
            assert await it.open_thread("hello", thread_id="goes-on") == "goes-on"
        with anyio.fail_after(10), pytest.raises(RuntimeError, match="runs once: make another"):
            async with it:
                pass


def test_running_in_the_midst_of_a_loop_says_what_to_write_instead() -> None:
    """In a coroutine or a notebook ``run_sync`` is refused in words that help, and nothing has begun."""

    @run
    async def _() -> None:
        it = Organism([clerk])
        with pytest.raises(RuntimeError, match=r"an event loop is running here already.*await organism\.run"):
            it.run_sync("hello")
        async with it:
            assert (await it.run("hello")).outcome == "completed"


@pytest.mark.parametrize("kept", [False, True])
def test_one_task_begins_an_organism_and_another_ends_it(kept: bool, tmp_path: Path) -> None:
    """As fixtures of pytest-asyncio and cells of a notebook do; nobody is cancelled, and the journal is free again."""

    @run
    async def _() -> None:
        for _ in range(2):
            it = Organism([clerk], journal=tmp_path / "journal.db" if kept else None)
            await asyncio.create_task(it.__aenter__())
            assert (await it.run("hello")).outcome == "completed"
            await asyncio.create_task(it.__aexit__())
            await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("kept", [False, True])
def test_what_is_asked_of_an_organism_before_its_start_spoils_nothing(kept: bool, tmp_path: Path) -> None:
    """It is refused with what to do, or takes effect; it neither hangs nor takes the numbers of stored events."""

    @run
    async def _() -> None:
        for _ in range(2):
            it = Organism([clerk], journal=tmp_path / "journal.db" if kept else None)
            with pytest.raises(JournalError if kept else StoppedError, match=r"use it.*async"):
                await it.run("hello")
            for order in (it.freeze, it.unfreeze, lambda it=it: it.drain(1)):
                if kept:
                    with pytest.raises(JournalError, match="not open"):
                        await order()
                else:
                    await order()
            async with it:
                assert (await it.run("hello")).outcome == "completed"


def test_an_order_during_the_start_is_refused_and_spoils_nothing(tmp_path: Path) -> None:
    """The journal is open by then, but its events are not read: the order's would take the number of a stored one."""

    @run
    async def _() -> None:
        async with Organism([clerk], journal=tmp_path / "journal.db") as it:
            await it.run("hello")
        it, refused = Organism([clerk], journal=tmp_path / "journal.db"), list[str]()

        async def order() -> None:
            while "has not been started" not in refused[-1:]:
                try:
                    await it.freeze()
                except (JournalError, StoppedError) as error:
                    refused.append(str(error).partition(";")[0].removeprefix("the organism "))
                await anyio.lowlevel.checkpoint()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(order)
            async with it:
                assert (await it.run("hello")).outcome == "completed"
                await it.freeze()


def test_an_order_after_the_handlers_have_stopped_is_refused(tmp_path: Path) -> None:
    """The journal is open still, but no task would end the thread; it goes on when the organism runs again."""

    @run
    async def _() -> None:
        it = Organism([sleeper], journal=tmp_path / "journal.db")

        async def order_late() -> None:
            while it.pump.running:
                await anyio.lowlevel.checkpoint()
            for late in (ended, limited):
                with pytest.raises(StoppedError, match="is stopping"):
                    await late(it)

        async with anyio.create_task_group() as tasks, it:
            await it.open_thread("hello", thread_id="waits")
            tasks.start_soon(order_late)
        async with (again := Organism([sleeper], journal=tmp_path / "journal.db")):
            assert [(view.thread_id, view.status) for view in again.threads()] == [("waits", "open")]
