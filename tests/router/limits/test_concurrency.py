"""How many calls of a thread are under way at once: few of a handler, many of the programs that share a key."""

import math
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from organism.errors import RejectedError, UncertainError
from organism.router.call import RouterSettings
from organism.router.limits.concurrency import ThreadConcurrency
from organism.testing import ScriptedProvider, run

MakeRouter = Callable[..., Any]
"""See ``conftest.py`` of the router's tests."""


@pytest.mark.parametrize(("message", "under_way"), [("m", 8), ("", 50)])
def test_programs_that_share_a_key_do_not_wait_for_each_other(
    make_router: MakeRouter, message: str, under_way: int
) -> None:
    """Fifty people stream through one key at once; a handler that asks fifty times is held to eight."""

    async def main() -> None:
        provider = ScriptedProvider(name="p", latency_s=10)
        async with make_router(provider) as it, anyio.create_task_group() as tasks:
            for _ in range(50):
                tasks.start_soon(lambda: it.ask(message=message))
            await anyio.sleep(5)
            assert it.router.statistics().attempts_open == under_way

    run(main)


@pytest.mark.parametrize("most", [1, 3, 8])
@pytest.mark.parametrize(("message", "setting"), [("m", "bounds.calls_in_flight"), ("", "gateway.calls_in_flight")])
def test_waiting_for_a_place_counts_towards_the_deadline(
    make_router: MakeRouter, most: int, message: str, setting: str
) -> None:
    """However many calls a thread makes at once, each has ended when its own deadline is over."""

    async def main() -> None:
        provider = ScriptedProvider(name="p", latency_s=50)
        settings = RouterSettings(calls_in_flight=most, direct_calls_in_flight=most, deadline_s=60)
        took: list[float] = []
        refused: list[str] = []
        cut: list[str] = []

        async def call() -> None:
            try:
                await it.ask(message=message)
            except RejectedError as error:
                refused.append(str(error))
            except UncertainError as error:
                cut.append(str(error))
            took.append(anyio.current_time())

        async with make_router(provider, settings=settings) as it:
            async with anyio.create_task_group() as tasks:
                for _ in range(30):
                    tasks.start_soon(call)
            assert max(took) <= 60
            assert setting in refused[0]
            assert it.registry.budget("t").held.tokens == 0

    run(main)


def test_fewer_from_a_reload_on_are_fewer_for_calls_that_wait_already() -> None:
    """Places in use go as their calls end, and nobody who waited has one of them; more later are so many more."""

    async def main() -> None:
        calls, under_way = ThreadConcurrency(10, "x"), [0]

        async def call() -> None:
            place = await calls.take("t", "m", math.inf)
            under_way[0] += 1
            await anyio.sleep(1)
            under_way[0] -= 1
            place.release()

        async with anyio.create_task_group() as tasks:
            for _ in range(60):
                tasks.start_soon(call)
            for most in (2, 4, 1, 6):
                await anyio.sleep(0.3)
                calls.change(most)
                await anyio.sleep(1.25)
                assert under_way[0] == most

    run(main)
