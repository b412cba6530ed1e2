"""A context belongs to one run of a handler: whatever outlives the run can do nothing with it."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest

from organism import Bounds, Context, Limits, Organism, Text, agent
from organism.agents.agent import Agent
from organism.errors import ConfigError, ContextClosedError
from organism.router.call import RouterSettings
from organism.router.limits.provider_settings import ProviderSettings
from organism.router.limits.rate_limit import RateLimits
from organism.stores.sqlite import SqliteJournal
from organism.testing import ScriptedProvider, SequentialIds, VirtualClock, run


async def work() -> int:
    return 1


async def sent(ctx: Context) -> None:
    ctx.send("b", Text("late"))


async def replied(ctx: Context) -> None:
    ctx.reply(Text("late"))


async def published(ctx: Context) -> None:
    ctx.publish(Text("late"))


async def reported(ctx: Context) -> None:
    ctx.report("late", "yes")


async def stated(ctx: Context) -> None:
    ctx.state["late"] = 1


async def looked(ctx: Context) -> None:
    assert ctx.budget


async def numbered(ctx: Context) -> None:
    ctx.asking("b", Text("late"))


USES: dict[str, Callable[[Context], Awaitable[Any]]] = {
    "send": sent,
    "reply": replied,
    "publish": published,
    "report": reported,
    "state": stated,
    "budget": looked,
    "asking": numbered,
    "ask": lambda ctx: ctx.ask("b", Text("late")),
    "gather": lambda ctx: ctx.gather([("b", Text("late"))]),
    "spawn": lambda ctx: ctx.spawn("b", Text("late")),
    "once": lambda ctx: ctx.once("late", work, int),
    "approval": lambda ctx: ctx.approval("late"),
    "complete": lambda ctx: ctx.llm.complete("late"),
    "embed": lambda ctx: ctx.llm.embed(["late"]),
    "on_thread": lambda ctx: ctx.on_thread(lambda: None),
}


@agent(name="b")
async def b(message: Text, ctx: Context) -> Text:
    await anyio.sleep(0.5)
    return Text("fine")


def organism_of(*agents: Agent, journal: SqliteJournal | None = None, **options: Any) -> Organism:
    return Organism(
        agents,
        models={"m": "s/x"},
        providers={"s": ScriptedProvider(["hi"] * 5)},
        limits=Limits(tokens=50_000),
        clock=VirtualClock(),
        ids=SequentialIds(),
        provider_kinds={"s": "local"},
        **({"journal": journal} if journal is not None else {}),
        **{"bounds": Bounds(attempts=1)} | options,
    )


@pytest.mark.parametrize("closed_first", [False, True], ids=["thread open", "thread closed"])
@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_task_that_outlives_its_handler_is_refused(
    use: Callable[[Context], Awaitable[Any]], closed_first: bool, tmp_path: Path
) -> None:
    """Each use of the context raises in the task, nothing is charged or kept, and the journal can be opened again."""
    came: list[BaseException] = []

    async def late(ctx: Context) -> None:
        await anyio.sleep(10 if closed_first else 0.01)
        try:
            await use(ctx)
        except BaseException as error:
            came.append(error)
            raise

    tasks: list[asyncio.Task[None]] = []

    @agent(name="a", next="b")
    async def a(message: Text, ctx: Context) -> Text:
        tasks.append(asyncio.get_running_loop().create_task(late(ctx)))
        return Text("on")

    async def main() -> None:
        async with organism_of(a, b, journal=SqliteJournal(tmp_path / "j.db")) as it:
            result = await it.run("x", to="a")
            assert result.outcome == "completed"
            assert result.budget.spent.calls == 0
            await asyncio.wait(tasks)
            assert [type(error) for error in came] == [ContextClosedError]
            tasks[0].exception()
        async with organism_of(a, b, journal=SqliteJournal(tmp_path / "j.db")) as it:
            assert it.statistics().threads == 0
            assert (await it.run("x", to="b")).outputs == (Text("fine"),)

    run(main)


WAITS = {name: USES[name] for name in ("ask", "spawn", "gather")}


async def slow_work() -> int:
    await anyio.sleep(1)
    return 1


WAITS["once"] = lambda ctx: ctx.once("late", slow_work, int)
WAITS["gather"] = lambda ctx: in_one(ctx.gather([("b", Text("late"))]))
WAITS["asking"] = lambda ctx: ctx.asking("b", Text("late"))()


async def in_one(several: Awaitable[Any]) -> Any:
    try:
        return await several
    except ExceptionGroup as group:
        raise group.exceptions[0] from None


@pytest.mark.parametrize("use", WAITS.values(), ids=WAITS)
def test_a_call_that_is_under_way_when_its_handler_ends_is_cut_short(
    use: Callable[[Context], Awaitable[Any]], tmp_path: Path
) -> None:
    """Whoever waits inside of a call is told, instead of waiting for something that has no message any more."""
    tasks: list[asyncio.Task[Any]] = []

    @agent(name="a", peers=["b"])
    async def a(message: Text, ctx: Context) -> Text:
        tasks.append(asyncio.get_running_loop().create_task(use(ctx)))  # type: ignore[arg-type]
        await anyio.sleep(0.001)
        return Text("on")

    async def main() -> None:
        async with organism_of(a, b, journal=SqliteJournal(tmp_path / "j.db")) as it:
            await it.open_thread("x", to="a")
            await asyncio.wait(tasks) if tasks else await anyio.sleep(1)
            await asyncio.wait(tasks, timeout=60)
            assert isinstance(tasks[0].exception(), ContextClosedError)

    run(main)


def call_for(model: str) -> Callable[[Context], Awaitable[Any]]:
    return lambda ctx: ctx.llm.complete("late", model=model, max_output_tokens=20)


STAGES = {
    "provider's place": call_for("busy"),
    "rate limit": call_for("slow"),
    "commit": call_for("m"),
    "exchange": call_for("hanging"),
    "thread's place": call_for("m"),
    "budget": call_for("m"),
}


class HangingProvider(ScriptedProvider):
    """Answers after five seconds."""

    async def complete(self, request: Any, on_text: Any = None) -> Any:
        await anyio.sleep(5)
        return await super().complete(request, on_text)


@pytest.mark.parametrize("stage", STAGES)
def test_a_call_left_behind_at_any_stage_lets_its_thread_end(stage: str, tmp_path: Path) -> None:
    """Wherever a model call waits when its handler ends, its hold is resolved before the thread's budget is closed."""
    tasks: list[asyncio.Task[Any]] = []

    @agent(name="a")
    async def a(message: Text, ctx: Context) -> Text:
        loop = asyncio.get_running_loop()
        before = {"provider's place": ["busy"], "rate limit": ["slow"]}.get(stage, [])
        before += ["hanging"] * {"thread's place": 8, "budget": 2}.get(stage, 0)
        tasks.extend(loop.create_task(call_for(model)(ctx)) for model in before)  # type: ignore[arg-type]
        await anyio.sleep(0.01)
        tasks.append(loop.create_task(STAGES[stage](ctx)))  # type: ignore[arg-type]
        for _ in range(3 if stage == "commit" else 50):
            await asyncio.sleep(0)
        return Text("on")

    async def main() -> None:
        names = {"m": "s", "busy": "one", "slow": "limited", "hanging": "hanging"}
        it = Organism(
            [a, b],
            models={model: f"{provider}/x" for model, provider in names.items()},
            providers={name: HangingProvider(["hi"] * 20, name=name) for name in names.values()},
            limits=Limits(tokens=150 if stage == "budget" else 50_000),
            clock=VirtualClock(),
            ids=SequentialIds(),
            provider_kinds=dict.fromkeys(names.values(), "local"),
            journal=SqliteJournal(tmp_path / "j.db"),
            bounds=Bounds(attempts=1),
            router=RouterSettings(
                providers={
                    "one": ProviderSettings(concurrency=1),
                    "limited": ProviderSettings(rates=RateLimits(requests=1)),
                }
            ),
        )
        async with it:
            with anyio.fail_after(300):
                result = await it.run("x", to="a")
            assert result.outcome == "completed"
            assert result.budget.held.tokens == 0
            await asyncio.wait(tasks)
            assert {type(task.exception()) for task in tasks} == {ContextClosedError}
            assert it.statistics().threads == 0
            assert (await it.run("x", to="b")).outcome == "completed"

    run(main)


def test_a_function_that_outlives_its_thread_is_refused() -> None:
    """A plain handler that was given up on, and comes back later, can do nothing with its context either."""
    came: dict[str, BaseException | None] = {}
    go, done = threading.Event(), threading.Event()

    @agent(name="a", timeout_s=0.2, peers=["b"])
    def a(message: Text, ctx: Context) -> None:
        go.wait(20)
        for name, use in USES.items():
            try:
                anyio.from_thread.run(use, ctx)
            except BaseException as error:  # noqa: BLE001 - it is what is looked at
                came[name] = error
            else:
                came[name] = None
        done.set()

    async def main() -> None:
        async with Organism([a, b], models={"m": "s/x"}, providers={"s": ScriptedProvider(["hi"])}) as it:
            assert (await it.run("x", to="a")).outcome == "failed"
            go.set()
            assert await anyio.to_thread.run_sync(done.wait, 20)
            assert it.statistics().threads == 0

    anyio.run(main)
    assert {name: type(error) for name, error in came.items()} == dict.fromkeys(USES, ContextClosedError)


LOOPED = {name: USES[name] for name in ("ask", "gather", "spawn", "complete", "embed", "approval")}


@pytest.mark.parametrize("use", LOOPED.values(), ids=LOOPED)
def test_a_call_from_another_event_loop_is_refused(use: Callable[[Context], Awaitable[Any]]) -> None:
    """`asyncio.run(ctx.ask(...))` in a plain handler would wait in a loop that nobody wakes; it says what to do."""

    async def called(ctx: Context) -> None:
        await use(ctx)

    @agent(name="a", peers=["b"])
    def a(message: Text, ctx: Context) -> Text:
        with pytest.raises((ConfigError, ExceptionGroup)) as caught:
            asyncio.run(called(ctx))
        error = caught.value.exceptions[0] if isinstance(caught.value, ExceptionGroup) else caught.value
        return Text(str(error))

    async def main() -> None:
        async with Organism([a, b], models={"m": "s/x"}, providers={"s": ScriptedProvider(["hi"])}) as it:
            (output,) = (await it.run("x", to="a")).outputs
            assert "from_thread.run" in output.text  # type: ignore[attr-defined]

    anyio.run(main)


def test_each_run_has_a_copy_of_the_state() -> None:
    """A task that goes on with the dictionary of its run changes nothing for the next."""
    seen: list[Any] = []

    @agent(name="a")
    async def a(message: Text, ctx: Context) -> None:
        state = ctx.state
        seen.append(dict(state))
        state["count"] = state.get("count", 0) + 1
        asyncio.get_running_loop().call_later(0.001, state.update, {"count": object()})
        if message.text == "first":
            ctx.send("a", Text("second"), delay_s=1)

    async def main() -> None:
        async with organism_of(Agent(name="a", handler=a.handler, accepts=(Text,), peers=("a",))) as it:
            assert (await it.run("first")).outcome == "completed"

    run(main)
    assert seen == [{}, {"count": 1}]
