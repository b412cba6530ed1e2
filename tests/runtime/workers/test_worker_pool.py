"""Plain functions block nobody but themselves: not the journal, not other agents, not the end of the process."""

import functools
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest

from organism import Bounds, Context, Limits, Organism, Text, agent
from organism.agents.agent import Agent
from organism.agents.tools.function_tool import function_tool
from organism.stores.sqlite import SqliteJournal
from organism.testing import ScriptedProvider
from tests.waiting import until


def organism_of(*agents: Agent, journal: Any = None, **options: Any) -> Organism:
    return Organism(
        agents,
        models={"m": "s/x"},
        providers={"s": ScriptedProvider(["hi"])},
        limits=Limits(tokens=50_000),
        **({"journal": journal} if journal is not None else {}),
        **{"bounds": Bounds(worker_threads=4, attempts=1)} | options,
    )


class Gate:
    """Holds plain functions until it is opened, and so for no longer than a test."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.held = 0

    def hold(self) -> None:
        self.held += 1
        self.open.wait(120)


@pytest.fixture
def gate() -> Any:
    gate = Gate()
    yield gate
    gate.open.set()


@agent(name="quick")
async def quick(message: Text, ctx: Context) -> Text:
    return Text((await ctx.llm.complete("hi", max_output_tokens=9)).text)


async def in_to_thread(gate: Gate, ctx: Context) -> None:
    await anyio.to_thread.run_sync(gate.hold, abandon_on_cancel=True)


async def in_ctx(gate: Gate, ctx: Context) -> None:
    await ctx.on_thread(gate.hold)


@pytest.mark.parametrize("how", ["plain handler", "to_thread", "on_thread", "hung handler"])
def test_functions_that_block_hold_up_no_commit_and_no_other_agent(how: str, gate: Gate, tmp_path: Path) -> None:
    """However many functions block, and in whatever way, other threads are answered and their work is committed."""

    @agent(name="slow", timeout_s=0.2 if how == "hung handler" else 60)
    def plain(message: Text, ctx: Context) -> None:
        gate.hold()

    @agent(name="slow")
    async def waiting(message: Text, ctx: Context) -> None:
        await (in_to_thread if how == "to_thread" else in_ctx)(gate, ctx)

    slow = plain if how.endswith("handler") else waiting

    async def main() -> None:
        async with organism_of(slow, quick, journal=SqliteJournal(tmp_path / "j.db")) as it:
            for _ in range(45):
                await it.open_thread("x", to="slow")
            await until(lambda: gate.held >= 2)
            with anyio.fail_after(60):
                assert (await it.run("x", to="quick")).outputs == (Text("hi"),)
            gate.open.set()

    anyio.run(main)


@pytest.mark.parametrize("hop", ["ask", "gather", "spawn", "chain"])
def test_plain_handlers_that_wait_for_each_other_never_deadlock(hop: str) -> None:
    """More plain handlers than threads may all wait for plain handlers: those that wait lend their place."""

    async def call(ctx: Context, to: str) -> None:
        match hop:
            case "gather":
                await ctx.gather([(to, Text("x")), (to, Text("y"))])
            case "spawn":
                await ctx.spawn(to, Text("x"))
            case _:
                await ctx.ask(to, Text("x"))

    @agent(name="first", peers=["second"])
    def first(message: Text, ctx: Context) -> Text:
        anyio.from_thread.run(call, ctx, "second")
        return Text("fine")

    @agent(name="second", peers=["third"])
    def second(message: Text, ctx: Context) -> Text:
        if hop == "chain":
            anyio.from_thread.run(call, ctx, "third")
        return Text("fine")

    @agent(name="third")
    def third(message: Text, ctx: Context) -> Text:
        return Text("fine")

    async def main() -> None:
        async with organism_of(first, second, third, bounds=Bounds(worker_threads=2, attempts=1)) as it:
            with anyio.fail_after(60):
                async with anyio.create_task_group() as tasks:
                    for _ in range(20):
                        tasks.start_soon(functools.partial(it.run, "x", to="first"))
            assert it.dead_letters() == ()
            workers = it.statistics().workers
            assert (workers.busy, workers.lent, workers.waiting) == (0, 0, 0)

    anyio.run(main)


def test_hung_functions_take_no_threads_without_bound(gate: Gate) -> None:
    """A function that never returns is given up on once and counted; its agent then fails, and it is said why."""
    before = threading.active_count()

    @agent(name="hung", timeout_s=0.05)
    def hung(message: Text, ctx: Context) -> None:
        gate.hold()

    @agent(name="other")
    def other(message: Text, ctx: Context) -> Text:
        return Text("fine")

    async def main() -> None:
        async with organism_of(hung, other, bounds=Bounds(worker_threads=4, attempts=5, restarts=100)) as it:
            for _ in range(3):
                assert (await it.run("x", to="hung")).outcome == "failed"
            assert threading.active_count() - before <= 4
            workers = it.statistics().workers
            assert workers.given_up == {"hung": 2}  # half of all, and never run again beside itself
            assert "worker_threads" in it.dead_letters()[-1].detail
            assert "took longer" in it.dead_letters()[0].detail
            assert __file__ in it.dead_letters()[0].detail
            assert (await it.run("x", to="other")).outputs == (Text("fine"),)
            gate.open.set()
            await until(lambda: not it.statistics().workers.given_up)
            assert it.statistics().workers.busy == 0

    anyio.run(main)


def test_an_agent_that_fills_all_places_leaves_others_their_turn(gate: Gate) -> None:
    """Free places go round among the agents that wait: many messages of one do not come before one of another."""
    order: list[str] = []

    def named(name: str) -> Agent:
        def handler(message: Text, ctx: Context) -> None:
            order.append(name)
            if message.text == "hold":
                gate.hold()

        return Agent(name=name, handler=handler, accepts=(Text,))

    async def main() -> None:
        async with organism_of(named("busy"), named("other"), bounds=Bounds(worker_threads=1)) as it:
            await it.open_thread("hold", to="busy")
            await until(lambda: order == ["busy"])
            for _ in range(50):
                await it.open_thread("x", to="busy")
            await until(lambda: it.statistics().workers.waiting > 0)
            waiting = it.statistics().workers.waiting
            await it.open_thread("x", to="other")
            await until(lambda: it.statistics().workers.waiting > waiting)
            gate.open.set()
            await it.drain(60)

    anyio.run(main)
    assert order.index("other") <= 3


def raising(error: BaseException) -> Callable[[Text, Context], None]:
    def handler(message: Text, ctx: Context) -> None:
        raise error

    return handler


ERRORS = [ValueError("no"), SystemExit(3), KeyboardInterrupt(), GeneratorExit(), StopIteration(), MemoryError()]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_what_a_plain_function_raises_is_its_own_failure(error: BaseException) -> None:
    """On a worker thread as in the event loop: a failed run, and the thread serves on."""
    bad = Agent(name="bad", handler=raising(error), accepts=(Text,))

    async def main() -> None:
        async with organism_of(bad, quick, bounds=Bounds(worker_threads=1, attempts=2)) as it:
            for _ in range(3):
                assert (await it.run("x", to="bad")).outcome == "failed"
            assert (await it.run("x", to="quick")).outcome == "completed"
            assert it.statistics().workers.busy == 0

    anyio.run(main)


def test_a_tool_runs_on_the_same_threads(gate: Gate) -> None:
    """A plain function of a tool counts among its agent's functions, and is given up on at the tool's own deadline."""

    def hangs() -> str:
        """Never returns."""
        gate.hold()
        return "late"

    tool = function_tool(hangs)

    @agent(name="caller")
    async def caller(message: Text, ctx: Context) -> Text:
        async with anyio.create_task_group() as calls:
            calls.start_soon(tool.call("{}", ctx), lambda: None)
            await until(lambda: gate.held == 1)
            calls.cancel_scope.cancel()
        return Text("gave up")

    async def main() -> None:
        async with organism_of(caller) as it:
            assert (await it.run("x")).outputs == (Text("gave up"),)
            assert it.statistics().workers.given_up == {"caller": 1}
            gate.open.set()

    anyio.run(main)


HANGS = """
import anyio, threading
from organism import Context, Organism, Text, agent

@agent(timeout_s=0.1)
def hangs(message: Text, ctx: Context) -> None:
    threading.Event().wait()

async def main():
    async with Organism([hangs]) as it:
        {how}
anyio.run(main)
print("ended")
"""


@pytest.mark.parametrize("how", ['await it.run("x")', 'await it.open_thread("x"); await anyio.sleep(0.05)'])
def test_the_process_ends_although_a_function_never_returns(how: str) -> None:
    """Neither the organism's stop nor the interpreter's exit waits for a function that was given up on."""
    ended = subprocess.run(
        [sys.executable, "-c", HANGS.format(how=how)], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.stdout.endswith("ended\n"), ended.stderr
    assert ended.returncode == 0
