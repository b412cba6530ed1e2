"""Code that blocks the event loop is named while it does, for it may never end."""

import inspect
import threading
import time
from collections.abc import Mapping, Sequence

import anyio.lowlevel
import pytest
from structlog.testing import capture_logs

from organism import Context, Organism, Text, agent, llm_agent
from organism.daemon.loop_watchdog import LoopWatchdog
from organism.events import EventLoopBlocked
from organism.testing import ScriptedProvider

pytestmark = pytest.mark.anyio


def _named(logged: Sequence[Mapping[str, object]]) -> list[Mapping[str, object]]:
    return [line for line in logged if line["event"] == "event_loop_blocked"]


def _blocks_until_named(logged: Sequence[Mapping[str, object]]) -> None:
    """Hold up the loop until the watchdog has said so; what never happens ends all the same."""
    waiting, deadline = threading.Event(), time.monotonic() + 60
    while not any(line["event"] == "event_loop_blocked" for line in logged) and time.monotonic() < deadline:
        waiting.wait(0.01)


def _is_blocking_code(where: str) -> bool:
    path, _, line = where.rpartition(":")
    lines, first = inspect.getsourcelines(_blocks_until_named)
    return path == __file__ and first <= int(line) < first + len(lines)


async def _run(organism: Organism) -> EventLoopBlocked:
    events: list[EventLoopBlocked] = []
    organism.usage.subscribe(events.append, EventLoopBlocked)
    async with organism:
        with LoopWatchdog(organism.outbox.emit, blocked_s=0.05):
            await organism.run("go")
            while not events:
                await anyio.lowlevel.checkpoint()
                await organism.journal.commit()
    return events[0]


async def test_handler_that_blocks_the_loop_is_named_with_its_line() -> None:
    """The log names agent, thread and line while the loop is blocked; the event follows with how long it was."""
    with capture_logs() as logged:

        @agent()
        async def blocks(_message: Text, _ctx: Context) -> Text:
            _blocks_until_named(logged)
            return Text("done")

        event = await _run(Organism([blocks]))

    (line,) = _named(logged)
    assert line["agent"] == event.agent == "blocks"
    assert line["thread_id"] == event.thread_id != ""
    assert line["where"] == event.where
    assert _is_blocking_code(event.where)
    assert event.blocked_ns >= 50_000_000


async def test_listener_that_blocks_the_loop_is_named_without_an_agent() -> None:
    """What no handler does is named by its line alone."""
    with capture_logs() as logged:
        seen: list[object] = []

        def listens(event: object) -> None:
            if not seen:
                seen.append(event)
                _blocks_until_named(logged)

        organism = Organism(
            [llm_agent("writer", model="main", system="Write.")],
            models={"main": "openai/gpt-4o"},
            providers={"openai": ScriptedProvider(["ok"], name="openai")},
        )
        organism.usage.subscribe(listens)
        event = await _run(organism)

    assert event.agent == event.thread_id == ""
    assert _is_blocking_code(event.where)


async def test_loop_that_goes_on_is_not_accused() -> None:
    """A handler that awaits for long blocks nobody; a machine that holds up the whole process proves nothing."""
    accused: list[bool] = []
    while not accused:
        stopped_s: list[float] = []

        async def waits(_message: Text, _ctx: Context) -> Text:
            began = turn = time.monotonic()
            while turn < began + 0.3:
                await anyio.lowlevel.checkpoint()
                stopped_s.append(time.monotonic() - turn)  # noqa: B023 - each round has its own
                turn += stopped_s[-1]  # noqa: B023
            return Text("done")

        with capture_logs() as logged:
            async with Organism([agent("waits")(waits)]) as organism:
                with LoopWatchdog(organism.outbox.emit, blocked_s=0.05):
                    await organism.run("go")
                    await anyio.lowlevel.checkpoint()
        if not _named(logged) or max(stopped_s) < 0.05:
            accused.append(bool(_named(logged)))

    assert accused == [False]
