"""What is left of what is over: nothing, so that a process can run for months."""

import gc
from collections.abc import Iterator
from typing import Any

import anyio
import pytest

from organism import Bounds, Context, Limits, Organism, Text, agent
from organism.runtime.handlers.handler_run import HandlerRun
from organism.runtime.waiting.timers import Timer
from organism.runtime.workers import cancel_scope
from organism.testing import ScriptedProvider, VirtualClock, run

RUNS = 30


async def fail(_ctx: Context) -> None:
    raise ValueError("a mistake")


MISTAKE = ValueError("one and the same")


async def fail_again(_ctx: Context) -> None:
    raise MISTAKE


async def swallow(_ctx: Context) -> None:
    try:
        await anyio.sleep(60)
    except BaseException:
        await anyio.sleep(1)
        raise


async def call(ctx: Context) -> None:
    await ctx.llm.complete("x", max_output_tokens=5)


async def ask(ctx: Context) -> None:
    await ctx.ask("other", Text("x"))


async def spawn(ctx: Context) -> None:
    await ctx.spawn("other", Text("x"), limits=Limits(tokens=100))


async def wait(_ctx: Context) -> None:
    await anyio.sleep(0.1)


def count(*kinds: type) -> int:
    return sum(type(each) in kinds for each in gc.get_objects())


@pytest.fixture
def _nothing_of_others() -> Iterator[None]:
    """Hide from the garbage collector what was there before, or each look would walk all that other tests have left."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(params=[True, False], ids=["scopes reused", "a scope for each run"])
def scopes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run on scopes that are kept from run to run, and on the plain way that rests on nothing private of AnyIO."""
    monkeypatch.setattr(cancel_scope, "REUSE_SCOPES", request.param)


@pytest.mark.usefixtures("scopes", "_nothing_of_others")
@pytest.mark.parametrize("what", [wait, call, ask, spawn, fail, fail_again, swallow])
def test_nothing_is_left_of_runs_and_threads_that_are_over(what: Any) -> None:
    """However a run ends, it is gone with its thread and its deadlines: memory does not grow with what has been."""

    @agent(peers=["other"], timeout_s=5)
    async def worker(message: Text, ctx: Context) -> None:
        await what(ctx)

    @agent()
    async def other(message: Text, ctx: Context) -> Text:
        await anyio.sleep(0.1)
        return message

    async def main() -> int:
        organism = Organism(
            [worker, other],
            models={"main": "s/m"},
            providers={"s": ScriptedProvider(["fine"])},
            limits=Limits(tokens=10_000),
            bounds=Bounds(attempts=2, restarts=1000),
            clock=VirtualClock(),
        )
        async with organism:
            for _ in range(RUNS):
                await organism.run("x")
            await anyio.sleep(200)
            gc.collect()
            return count(HandlerRun, Timer)

    assert run(main) < RUNS // 10
