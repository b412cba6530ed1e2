"""Attempts whose tasks a stranger cancels, or that are ended before their adapter's first step: none is left over."""

import asyncio
from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from organism.errors import RejectedError, UncertainError
from organism.router.call import RouterSettings
from organism.testing import ScriptedProvider, run
from organism.usage.events import UsageEvent

MakeRouter = Callable[..., Any]
"""See ``conftest.py``."""

SEEDS = range(8)


async def left(it: Any) -> None:
    """Return in the turn in which an attempt leaves, or in one of the next."""
    while not any(attempt.started_ns >= 0 for attempt in it.router.open_attempts):
        await anyio.lowlevel.checkpoint()


def test_a_call_that_is_given_up_before_its_adapter_begins_costs_nothing(make_router: MakeRouter) -> None:
    """What was never asked is released, its adapter's task is gone, and the router's end waits for none."""

    async def scenario() -> bool:
        provider = ScriptedProvider(["yes"], latency_s=5)
        async with make_router(provider, settings=RouterSettings(drain_s=0)) as it:
            call = asyncio.create_task(it.ask())
            await left(it)
            call.cancel()
            await it.router.wait_idle("t")
            (event,) = it.of(UsageEvent)
            assert event.outcome == ("worst_case" if provider.requests else "released")
            assert it.registry.statistics().open_holds == 0
            assert it.router.statistics().providers["scripted"].failures == 0
        assert anyio.current_time() == 0
        return not provider.requests

    never_asked = [run(scenario, seed=seed) for seed in SEEDS]
    assert any(never_asked)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", ["attempt", "a call of provider 'scripted'"])
def test_a_call_of_which_a_stranger_cancels_a_task_ends_at_once(make_router: MakeRouter, name: str, seed: int) -> None:
    """A program that cancels every task it finds leaves no caller to wait for ever, and no hold open."""

    async def scenario() -> None:
        provider = ScriptedProvider(["yes"], latency_s=5)
        async with make_router(provider) as it:
            call = asyncio.create_task(it.ask())
            await left(it)
            while not (named := [task for task in asyncio.all_tasks() if task.get_name() == name]):
                await anyio.lowlevel.checkpoint()
            named[0].cancel()
            await asyncio.wait([call])
            assert anyio.current_time() == 0
            asked = bool(provider.requests)
            (event,) = it.of(UsageEvent)
            assert event.outcome == ("worst_case" if asked else "released")
            assert isinstance(call.exception(), RejectedError) is not asked
            assert it.registry.statistics().open_holds == 0

    run(scenario, seed=seed)


def test_an_adapter_whose_attempt_a_stranger_cancels_works_on_for_nobody(make_router: MakeRouter) -> None:
    """It is charged whole, ended, and what it still says reaches no caller that has been told the call has failed."""

    async def scenario() -> None:
        async with make_router(ScriptedProvider(["one two three four"], latency_s=5)) as it:
            heard: list[object] = []
            call = asyncio.create_task(it.ask(on_text=heard.append))
            await anyio.sleep(1.5)
            next(task for task in asyncio.all_tasks() if task.get_name() == "attempt").cancel()
            await asyncio.wait([call])
            assert isinstance(call.exception(), UncertainError)
            assert not [task for task in asyncio.all_tasks() if "a call of" in task.get_name()]
            before = len(heard)
            await anyio.sleep(10)
            assert len(heard) == before
            (event,) = it.of(UsageEvent)
            assert event.outcome == "worst_case"

    run(scenario)


@pytest.mark.parametrize("seed", SEEDS)
def test_an_adapter_s_start_that_a_stranger_cancels_is_made_anew(make_router: MakeRouter, seed: int) -> None:
    """The call that waits for it fails at once, and the next one has the adapter start again."""

    class Warming(ScriptedProvider):
        async def warm_up(self) -> None:
            await anyio.sleep(1)

    async def scenario() -> None:
        async with make_router(Warming(["yes"])) as it:
            call = asyncio.create_task(it.ask())
            while not (named := [task for task in asyncio.all_tasks() if "the start of" in task.get_name()]):
                await anyio.lowlevel.checkpoint()
            named[0].cancel()
            await asyncio.wait([call])
            assert isinstance(call.exception(), RejectedError)
            assert anyio.current_time() == 0
            assert (await it.ask()).text == "yes"
            assert anyio.current_time() == 1

    run(scenario, seed=seed)
