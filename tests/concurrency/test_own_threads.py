"""Blocking work of the runtime is called on threads of its own, and comes back whatever becomes of it."""

import asyncio
import gc
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress

import anyio
import anyio.lowlevel
import pytest

from organism.concurrency.own_threads import NoThreadError, OwnThreads, busy_threads

pytestmark = pytest.mark.anyio


def _raised(error: BaseException) -> Callable[[], None]:
    def function() -> None:
        raise error

    return function


class _NotedError(ValueError):
    def __init__(self, kept: "weakref.WeakSet[ValueError]") -> None:
        kept.add(self)


async def test_what_a_function_raises_comes_back_and_the_thread_goes_on() -> None:
    """An error reaches the caller, one that no future can hold as well; the next function is called all the same."""
    threads = OwnThreads()
    for error in (ValueError("no"), SystemExit(3)):
        with pytest.raises(type(error)) as met:
            await threads.run(_raised(error))
        assert met.value is error
    with pytest.raises(RuntimeError, match="StopIteration"):
        await threads.run(_raised(StopIteration()))
    assert await threads.run(max, 1, 2) == 2


async def test_a_cancelled_caller_waits_for_its_function_and_gets_what_it_returns() -> None:
    """What was opened on a thread is not lost: the caller is cancelled at its next wait, with the result in hand."""
    threads, go, begun, got = OwnThreads(), threading.Event(), anyio.Event(), []

    def open_something() -> str:
        go.wait(60)
        return "opened"

    async def caller() -> None:
        begun.set()
        got.append(await threads.run(open_something))
        await anyio.sleep_forever()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(caller)
        await begun.wait()
        tasks.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            await anyio.lowlevel.checkpoint()
            assert not got
            go.set()
    assert got == ["opened"]


async def test_functions_are_called_in_turn_on_as_many_threads_as_asked_for() -> None:
    """One thread calls in the order of asking; two call two at once, and no third."""
    order: list[int] = []
    one, two, both = OwnThreads(), OwnThreads(2), threading.Barrier(2)
    used: set[int] = set()

    def meet() -> None:
        both.wait(60)
        used.add(threading.get_ident())

    async with anyio.create_task_group() as tasks:
        for number in range(20):
            tasks.start_soon(one.run, order.append, number)
        for _ in range(6):
            tasks.start_soon(two.run, meet)
    assert order == list(range(20))
    assert len(used) == 2


async def test_a_thread_without_work_ends_and_another_takes_its_place() -> None:
    """No thread stays for good; what comes later gets a new one, and none is lost between the two."""
    threads = OwnThreads(idle_s=0.001)
    first = await threads.run(threading.current_thread)
    first.join(60)
    assert not first.is_alive()
    for number in range(300):
        assert await threads.run(abs, -number) == number


def _no_more_threads(_thread: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


async def test_where_no_further_thread_can_be_started_those_that_are_there_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A machine without room for one more thread refuses nothing that a thread at work can do after its own."""
    threads, go_on = OwnThreads(2), threading.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(threads.run, go_on.wait, 60)
        await anyio.lowlevel.checkpoint()
        monkeypatch.setattr(threading.Thread, "start", _no_more_threads)
        tasks.start_soon(threads.run, go_on.wait, 60)
        await anyio.lowlevel.checkpoint()
        with pytest.raises(NoThreadError, match="can't start new thread"):
            await OwnThreads().run(abs, 1)
        go_on.set()
    assert busy_threads(asyncio.get_running_loop()) == 0


def test_one_serves_an_event_loop_after_another() -> None:
    """Journals of tests and of programs outlive their event loop; nothing is counted as busy afterwards."""
    threads = OwnThreads()

    async def main() -> int:
        found: int = await threads.run(abs, -4)
        assert busy_threads(asyncio.get_running_loop()) == 0
        return found

    assert [anyio.run(main) for _ in range(3)] == [4, 4, 4]


def test_an_idle_thread_does_not_keep_the_process() -> None:
    """A program ends when it is done, not when its threads have waited long enough."""
    script = (
        "import anyio; from organism.concurrency.own_threads import OwnThreads; "
        "anyio.run(OwnThreads(idle_s=3600).run, abs, 1)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


async def test_an_error_is_not_kept_once_it_was_met() -> None:
    """Nothing goes round in a circle from it to its job and back: what its frames hold is let go of at once."""
    threads, kept = OwnThreads(), weakref.WeakSet[ValueError]()

    def function() -> None:
        raise _NotedError(kept)

    gc.disable()
    try:
        with suppress(ValueError):
            await threads.run(function)
        await threads.run(abs, 1)
        assert not kept
    finally:
        gc.enable()
