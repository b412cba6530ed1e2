"""No more handlers run at once than may, in all and of one agent, and none of them waits for a place for ever."""

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from organism import ConfigError, Context, Limits, Organism, Text, agent
from organism.config.load import parse_config
from organism.runtime.bounds import Bounds
from organism.testing import CrashingJournal, VirtualClock, run


class Work:
    """Counts who is at work, in all and by agent, at most."""

    def __init__(self) -> None:
        self.now: dict[str, int] = {}
        self.most: dict[str, int] = {}
        self.order: list[str] = []

    async def do(self, name: str, seconds: float = 1) -> None:
        """Be at work."""
        self.order.append(name)
        for key in ("all", name):
            self.now[key] = self.now.get(key, 0) + 1
            self.most[key] = max(self.most.get(key, 0), self.now[key])
        await anyio.sleep(seconds)
        for key in ("all", name):
            self.now[key] -= 1


OTHERS: dict[str, Callable[[Context], Awaitable[object]]] = {
    "ask": lambda ctx: ctx.ask("worker", Text("a"), timeout_s=10_000),
    "gather": lambda ctx: ctx.gather([("worker", Text(str(number))) for number in range(3)], timeout_s=10_000),
    "each": lambda ctx: ctx.for_each("worker", ["a", "b", "c"], limit=2, timeout_s=10_000),
    "shared": lambda ctx: ctx.spawn("worker", Text("a")),
    "carved": lambda ctx: ctx.spawn("worker", Text("a"), limits=Limits(tokens=60_000), budget="carved"),
    "plain": lambda ctx: ctx.ask("plain", Text("a"), timeout_s=10_000),
}


def team(work: Work, handlers: int = 1000, each: int | None = None, **options: Any) -> Organism:
    """A lead that has others do its work in the way that its message names, between two pieces of its own."""

    @agent(peers=["worker", "plain"], timeout_s=100_000)
    async def lead(message: Text, ctx: Context) -> Text:
        await work.do("lead")
        if message.text == "send":
            for number in range(4):
                ctx.send("worker", Text(str(number)))
        else:
            await OTHERS[message.text](ctx)
            await work.do("lead")
        return Text("done")

    @agent(handlers=each, timeout_s=100_000)
    async def worker(message: Text, ctx: Context) -> Text:
        await work.do("worker")
        return message

    @agent(handlers=each, timeout_s=100_000)
    def plain(message: Text, ctx: Context) -> Text:
        anyio.from_thread.run(work.do, "plain", 0)  # virtual time stands still while a thread is at work
        return message

    bounds = Bounds(handlers=handlers, **options.pop("bounds", {}))
    return Organism([lead, worker, plain], clock=VirtualClock(), bounds=bounds, **options)


@pytest.mark.parametrize("way", [*OTHERS, "send"])
@pytest.mark.parametrize(("handlers", "each"), [(1, None), (2, None), (3, 1), (1000, 1), (1000, 2)])
def test_no_more_handlers_are_at_work_than_may_be_and_all_come_to_their_end(
    way: str, handlers: int, each: int | None
) -> None:
    """Handlers that wait for others hold no place, so that one place is enough for any depth of asking."""

    async def main() -> None:
        work = Work()
        options = {"mailbox_messages": 4} if way == "send" else {}
        async with team(work, handlers, each, bounds=options) as it:
            with anyio.fail_after(1000):
                threads = [await it.open_thread(way) for _ in range(4)]
                assert [(await it.wait(thread)).outcome for thread in threads] == ["completed"] * 4
            assert work.most["all"] <= handlers
            if each is not None:
                assert max(work.most.get(name, 0) for name in ("worker", "plain")) <= each
            left = it.pump.statistics().handlers
            assert (left.running, left.waiting) == ({}, {})

    run(main)


def test_each_agent_has_its_turn_however_many_wait_for_one() -> None:
    """A few messages for one agent do not wait behind a hundred for another."""

    async def main() -> None:
        work = Work()

        def named(name: str) -> Any:
            @agent(name=name)
            async def handler(message: Text, ctx: Context) -> Text:
                await work.do(name)
                return message

            return handler

        async with Organism([named("busy"), named("rare")], clock=VirtualClock(), bounds=Bounds(handlers=2)) as it:
            threads = [await it.open_thread("x") for _ in range(100)]
            threads += [await it.open_thread("x", to="rare") for _ in range(2)]
            for thread in threads:
                await it.wait(thread)
        assert [place for place, name in enumerate(work.order) if name == "rare"][-1] < 10

    run(main)


@pytest.mark.parametrize("how", ["terminate", "pause", "timeout", "fail"])
def test_a_place_comes_back_however_a_run_ends(how: str) -> None:
    """What is ended, paused, out of time or failed while it waits for others leaves its place to those that come."""

    @agent(peers=["worker"], timeout_s=5)
    async def lead(message: Text, ctx: Context) -> Text:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ctx.ask, "worker", Text("a"))
            await anyio.sleep(1)
            if how == "fail":
                raise ValueError
        return Text("done")

    @agent
    async def worker(message: Text, ctx: Context) -> Text:
        if message.text == "a":
            await anyio.sleep(50)
        return message

    async def main() -> None:
        async with Organism([lead, worker], clock=VirtualClock(), bounds=Bounds(handlers=1, attempts=1)) as it:
            thread = await it.open_thread("x")
            await anyio.sleep(2)
            if how == "terminate":
                await it.terminate(thread)
            elif how == "pause":
                await it.control.pause_thread(thread)
            await anyio.sleep(100)
            assert it.pump.statistics().handlers.running == {}
            assert (await it.run("b", to="worker")).outcome == "completed"
            assert it.pump.statistics().handlers.running == {}

    run(main)


def test_a_handler_that_never_waits_begins_only_where_a_place_is_free() -> None:
    """It takes none, for nobody else runs before it is done; it still has its turn behind those that have one."""
    order: list[str] = []

    @agent
    async def slow(message: Text, _ctx: Context) -> None:
        order.append("slow begins")
        await anyio.sleep(10)
        order.append("slow ends")

    @agent
    async def quick(message: Text, _ctx: Context) -> None:
        order.append("quick")

    async def main() -> None:
        async with Organism([slow, quick], clock=VirtualClock(), bounds=Bounds(handlers=1)) as it:
            threads = [await it.open_thread("x"), await it.open_thread("x", to="quick")]
            await anyio.sleep(1)
            assert it.pump.statistics().handlers.in_all() == (1, 1)
            for thread in threads:
                await it.wait(thread)
            assert it.pump.statistics().handlers.in_all() == (0, 0)

    run(main)
    assert order == ["slow begins", "slow ends", "quick"]


def test_a_message_that_is_tried_again_keeps_its_place() -> None:
    """The pause before the next try is part of its work, also where the first try failed before it waited."""
    order: list[str] = []

    @agent
    async def flaky(message: Text, _ctx: Context) -> None:
        order.append("flaky")
        if order.count("flaky") < 3:
            raise ValueError

    @agent
    async def other(message: Text, _ctx: Context) -> None:
        order.append("other")

    async def main() -> None:
        async with Organism([flaky, other], clock=VirtualClock(), bounds=Bounds(handlers=1)) as it:
            threads = [await it.open_thread("x"), await it.open_thread("x", to="other")]
            for thread in threads:
                await it.wait(thread)
            assert it.pump.statistics().handlers.running == {}

    run(main)
    assert order == ["flaky", "flaky", "flaky", "other"]


def test_handlers_cut_short_while_they_asked_try_again_within_the_bound() -> None:
    """Each has a place at its end, free or not; all of them at once would be at work again with it."""
    work, tried = Work(), Counter[str]()

    @agent(peers=["busy"], timeout_s=10)
    async def lead(message: Text, ctx: Context) -> None:
        tried[ctx.thread_id] += 1
        await work.do("lead", 1 if tried[ctx.thread_id] == 1 else 8)
        await ctx.ask("busy", Text("a"), timeout_s=10_000)

    @agent(handlers=1, timeout_s=100_000)
    async def busy(message: Text, _ctx: Context) -> Text:
        await work.do("busy", 1_000)
        return message

    async def main() -> None:
        async with Organism([lead, busy], clock=VirtualClock(), bounds=Bounds(handlers=2, attempts=3)) as it:
            for thread in [await it.open_thread("x") for _ in range(4)]:
                await it.wait(thread)
            await anyio.sleep(10_000)
            assert it.pump.statistics().handlers.in_all() == (0, 0)

    run(main)
    assert list(tried.values()) == [3] * 4
    assert work.most["all"] == 2


def test_plain_functions_that_ask_do_not_keep_each_other_from_places() -> None:
    """With as many functions waiting as there are threads, those they wait for still get a handler's place."""

    @agent(peers=["second"], timeout_s=1000)
    def first(message: Text, ctx: Context) -> Text:
        reply: Text = anyio.from_thread.run(ctx.ask, "second", message)  # type: ignore[assignment]
        return reply

    @agent(timeout_s=1000)
    def second(message: Text, ctx: Context) -> Text:
        return message

    async def main() -> None:
        bounds = Bounds(handlers=3, worker_threads=2)
        async with Organism([first, second], bounds=bounds) as it:
            with anyio.fail_after(20):
                threads = [await it.open_thread(str(number)) for number in range(12)]
                for thread in threads:
                    assert (await it.wait(thread)).outcome == "completed"

    anyio.run(main)


def test_what_waits_for_a_place_is_not_lost_by_a_crash() -> None:
    """Messages that waited for their turn when the process died have it in the next."""

    async def main() -> None:
        journal, work = CrashingJournal(), Work()
        async with team(work, 1, journal=journal) as it:
            for number in range(4):
                await it.open_thread("ask", thread_id=f"t{number}")
            await anyio.sleep(2.5)
            kept = journal.kept
            journal.kept = type(kept)(capacity=1)  # what is written from here on is lost
        async with team(Work(), 1, journal=CrashingJournal(kept)) as again:
            for number in range(4):
                result = again.pump.result(f"t{number}") or await again.wait(f"t{number}")
                assert result.outcome == "completed"

    run(main)


def test_time_in_line_is_none_of_a_handler_s_timeout() -> None:
    """A handler's seconds run from its own begin, not from when its message came."""

    @agent(timeout_s=2, handlers=1)
    async def slow(message: Text, ctx: Context) -> Text:
        await anyio.sleep(1.5)
        return message

    async def main() -> None:
        async with Organism([slow], clock=VirtualClock()) as it:
            threads = [await it.open_thread("x") for _ in range(5)]
            assert [(await it.wait(thread)).outcome for thread in threads] == ["completed"] * 5

    run(main)


def test_who_runs_and_who_waits_is_seen_everywhere() -> None:
    """Status, agents and metrics say how many are at work, may be, and wait."""

    async def main() -> None:
        async with team(Work(), 3, 2) as it:
            threads = [await it.open_thread("x", to="worker") for _ in range(5)]
            await anyio.sleep(0.5)
            status = it.control.status()
            assert (status.handlers, status.handlers_max, status.handlers_waiting) == (2, 3, 3)
            views = {view.name: view for view in it.control.queries.agents()}
            worker = views["worker"]
            assert (worker.handlers, worker.handlers_max, worker.handlers_waiting) == (2, 2, 3)
            assert views["lead"].handlers_max == 3
            for thread in threads:
                await it.wait(thread)

    run(main)


@pytest.mark.parametrize("handlers", [0, -1, True, 1.5, "2"])
def test_a_bound_that_is_none_is_refused(handlers: Any) -> None:
    """An agent that could never run is a mistake at once."""
    with pytest.raises(ConfigError, match="handlers"):
        agent(name="a", handlers=handlers)(lambda message, ctx: None)


def test_the_file_bounds_handlers_in_all_and_by_agent(tmp_path: Any) -> None:
    """`bounds.handlers` and `agents.X.handlers` are what an organism of the file keeps to."""
    text = (
        "name: o\nentry: a\nbounds: {handlers: 5}\nllm: {providers: {p: {type: openai, api_key: '${env:K}'}}, "
        "models: {m: p/x}}\nagents:\n  a: {model: m, handlers: 2}\n  b: {model: m}\n"
    )
    loaded = parse_config(text, "organism.yaml", tmp_path, {"K": "key"})
    organism = Organism.from_config(loaded, {"K": "key"})
    assert {view.name: view.handlers_max for view in organism.control.queries.agents()} == {"a": 2, "b": 5}
    with pytest.raises(ConfigError, match="handlers"):
        parse_config(text.replace("handlers: 2", "handlers: 0"), "organism.yaml", tmp_path, {"K": "key"})
