"""Lanes share tasks: what one thread's handlers do must not be noticed by another's."""

from contextvars import ContextVar

import anyio
import anyio.lowlevel
import pytest

from organism import Context, Limits, Organism, Text, agent
from organism.errors import ThreadClosedError
from organism.runtime.bounds import Bounds
from organism.testing import SequentialIds, VirtualClock, run

_TENANT: ContextVar[str] = ContextVar("tenant", default="nobody")


@pytest.mark.parametrize("seed", range(5))
def test_what_a_handler_leaves_in_its_context_reaches_no_other_thread(seed: int) -> None:
    """A context variable set by one thread's handler is never seen by the handler of another thread."""
    seen: list[str] = []

    @agent()
    async def tenant(message: Text, ctx: Context) -> None:
        seen.append(_TENANT.get())
        _TENANT.set(message.text)

    async def main() -> None:
        async with Organism([tenant], clock=VirtualClock(), ids=SequentialIds()) as organism:
            for name in ("red", "green", "blue"):
                await organism.run(name)

    run(main, seed=seed)
    assert seen == ["nobody"] * 3


@pytest.mark.parametrize("seed", range(5))
def test_runs_that_follow_on_each_other_at_once_have_contexts_of_their_own(seed: int) -> None:
    """A context variable that a handler sets reaches what it asks and spawns as little as whatever runs after it."""
    seen: list[str] = []

    @agent()
    async def helper(message: Text, ctx: Context) -> Text:
        seen.append(_TENANT.get())
        _TENANT.set("helper of " + message.text)
        return message

    @agent(next="helper")
    async def tenant(message: Text, ctx: Context) -> Text:
        seen.append(_TENANT.get())
        _TENANT.set(message.text)
        await ctx.ask("helper", message)
        await ctx.spawn("helper", message)
        assert _TENANT.get() == message.text  # its own is kept while it waits
        return message

    async def main() -> None:
        async with Organism([tenant, helper], clock=VirtualClock(), ids=SequentialIds()) as organism:
            _TENANT.set("caller")
            threads = [await organism.open_thread(str(number)) for number in range(20)]
            for thread in threads:
                await organism.wait(thread)

    run(main, seed=seed)
    assert seen == ["nobody"] * 80


def test_a_run_that_was_cut_short_takes_nobody_with_it() -> None:
    """After a run has been ended by its deadline, the runs that the same worker takes next go on undisturbed."""
    handled: list[str] = []

    @agent(timeout_s=1)
    async def handles(message: Text, ctx: Context) -> None:
        await anyio.sleep(5 if message.text == "late" else 0.5)
        handled.append(message.text)

    async def main() -> list[str]:
        bounds = Bounds(attempts=1)
        async with Organism([handles], clock=VirtualClock(), ids=SequentialIds(), bounds=bounds) as organism:
            texts = ["early", "late", "early"] * 3
            return [(await organism.run(text)).outcome for text in texts]

    assert run(main) == ["completed", "failed", "completed"] * 3
    assert handled == ["early"] * 6


@pytest.mark.parametrize("what", ["scope", "group"])
def test_a_scope_that_a_handler_leaves_behind_cuts_no_other_run_short(what: str) -> None:
    """A handler that leaves a deadline or tasks of its own behind fails, and neither goes on to meet anybody else."""
    left: list[object] = []
    ended = 0

    async def task() -> None:
        nonlocal ended
        try:
            await anyio.sleep_forever()
        finally:
            ended += 1

    @agent()
    async def leaves(message: Text, ctx: Context) -> None:
        scope = anyio.move_on_after(1)
        scope.__enter__()
        left.append(scope)
        if what == "group":
            group = anyio.create_task_group()
            await group.__aenter__()
            group.start_soon(task)
            left.append(group)
            await anyio.sleep(0.1)

    @agent()
    async def goes_on(message: Text, ctx: Context) -> Text:
        await anyio.sleep(5)
        return message

    async def main() -> list[str]:
        bounds = Bounds(attempts=1)
        agents = [leaves, goes_on]
        async with Organism(agents, clock=VirtualClock(), ids=SequentialIds(), bounds=bounds) as organism:
            threads = [await organism.open_thread(to, to=to) for to in ("leaves", "goes_on") * 10]
            return [(await organism.wait(thread)).outcome for thread in threads]

    assert run(main) == ["failed", "completed"] * 10
    assert ended == (0 if what == "scope" else len(left) // 2)


def test_handlers_that_wait_do_not_keep_others_from_beginning() -> None:
    """A thousand handlers that all wait for the same thing run at the same time."""
    waiting = 0
    everybody = anyio.Event()

    @agent()
    async def waits(message: Text, ctx: Context) -> None:
        nonlocal waiting
        waiting += 1
        if waiting == 1000:
            everybody.set()
        await everybody.wait()

    async def main() -> None:
        async with Organism(
            [waits], clock=VirtualClock(), ids=SequentialIds(), bounds=Bounds(mailbox_messages=1000)
        ) as organism:
            threads = [await organism.open_thread("go") for _ in range(1000)]
            for thread in threads:
                await organism.wait(thread)

    run(main)
    assert waiting == 1000


def test_agents_that_never_wait_leave_turns_to_the_rest_of_the_process() -> None:
    """Two agents that hand a message to and fro without ever waiting can be stopped from outside."""
    bounds = Bounds(hops=1_000_000)
    handled = 0

    @agent(next="pong")
    async def ping(message: Text, ctx: Context) -> Text:
        nonlocal handled
        handled += 1
        return message

    @agent(next="ping")
    async def pong(message: Text, ctx: Context) -> Text:
        return message

    async def main() -> str:
        async with Organism(
            [ping, pong], clock=VirtualClock(), ids=SequentialIds(), bounds=bounds, limits=Limits(tokens=1)
        ) as organism:
            thread = await organism.open_thread("go", to="ping")
            for _ in range(20):
                await anyio.lowlevel.checkpoint()
            return (await organism.terminate(thread)).outcome

    assert run(main) == "terminated"
    assert 0 < handled < 10_000


def test_a_handler_that_answers_its_end_with_an_error_is_not_run_again() -> None:
    """When a thread is ended, a handler that raises instead of stopping is left alone, and the thread ends at once."""
    runs = 0

    @agent()
    async def stubborn(message: Text, ctx: Context) -> None:
        nonlocal runs
        runs += 1
        try:
            await anyio.sleep_forever()
        finally:
            raise ValueError("no")

    async def main() -> None:
        async with Organism([stubborn], clock=VirtualClock(), ids=SequentialIds()) as organism:
            thread = await organism.open_thread("go")
            await anyio.sleep(1)
            with anyio.fail_after(0.1):
                await organism.terminate(thread)
            with pytest.raises(ThreadClosedError, match="is not open"):
                organism.thread(thread)

    run(main)
    assert runs == 1


def test_a_handler_gets_its_own_time_although_it_shares_its_task() -> None:
    """A handler that waits longer than its agent allows is ended, and one that waits often but not long is not."""
    ended: list[str] = []

    @agent(timeout_s=1)
    async def slow(message: Text, ctx: Context) -> Text | None:
        try:
            for _ in range(4):
                await anyio.sleep(0.2 if message.text == "quick" else 2)
        except BaseException:
            ended.append(message.text)
            raise
        return message

    async def main() -> list[str]:
        async with Organism([slow], clock=VirtualClock(), ids=SequentialIds(), bounds=Bounds(attempts=1)) as organism:
            return [(await organism.run(text)).outcome for text in ("quick", "slow", "quick")]

    assert run(main) == ["completed", "failed", "completed"]
    assert ended == ["slow"]
