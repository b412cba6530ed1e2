"""Whoever observes what the pump does cannot disturb it, and what nobody observes is not even made."""

from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from organism import Context, Limits, Organism, Text, agent
from organism.testing import ScriptedProvider, run
from organism.usage.activity import Activity, ActivityFeed, CallEnded, HandlerRan


@agent()
async def writer(message: Text, ctx: Context) -> Text:
    if message.text == "fail":
        raise ValueError("as asked")
    return Text((await ctx.llm.complete(message.text, max_output_tokens=16)).text)


def organism(**options: object) -> Organism:
    provider = ScriptedProvider(["one two"])
    return Organism([writer], models={"main": "s/m"}, providers={"s": provider}, **options)  # type: ignore[arg-type]


def test_runs_and_calls_are_told_as_they_ended() -> None:
    """Each run of a handler and each model call is told once, with how it ended."""
    seen: list[Activity] = []

    async def main() -> None:
        made = organism(limits=Limits(tokens=100), on_exhausted="fail")
        made.activity.observe(seen.append)
        async with made:
            await made.run("go")
            await made.run("fail")
            await made.run("far too long " * 100)

    run(main)
    runs = [(a.outcome, a.attempt) for a in seen if isinstance(a, HandlerRan)]
    assert runs == [("done", 1), *(("failed", attempt) for attempt in range(1, 6)), ("failed", 1)]
    answered, refused = [a for a in seen if isinstance(a, CallEnded)]
    assert (answered.attempts, answered.error, answered.content) == (1, None, None)
    assert refused.attempts == 0
    assert refused.shortfall is not None


def test_parked_and_cancelled_runs_are_told_apart() -> None:
    """A message that waits for budget and one whose thread is ended by order are not failures."""
    seen: list[Activity] = []

    async def main() -> None:
        made = organism(limits=Limits(calls=0))
        made.activity.observe(seen.append)
        async with made:
            thread = await made.open_thread("go")
            await made.pump.wait_rest(thread)
            await made.terminate(thread)

    run(main)
    assert [a.outcome for a in seen if isinstance(a, HandlerRan)] == ["parked"]


def test_observer_that_raises_harms_nobody() -> None:
    """A bug of an observer is logged, at most as often as doubles, and the work goes on."""

    def broken(_activity: Activity) -> None:
        raise ValueError("observer's bug")

    async def main() -> str:
        made = organism()
        made.activity.observe(broken)
        async with made:
            return (await made.run("go")).outcome

    with capture_logs() as logs:
        assert run(main) == "completed"
    assert [line["event"] for line in logs] == ["observer_failed"] * 2


def test_stopped_observer_hears_nothing_and_costs_nothing() -> None:
    """After its end an observer is told nothing, and with nobody left nothing is made."""
    feed = ActivityFeed()
    seen: list[Any] = []
    stop = feed.observe(seen.append)
    assert feed.active
    stop()

    assert not cast("Any", feed).active
    feed.publish(cast("Any", None))
    assert seen == []


@pytest.mark.parametrize("parent", [None, "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"])
def test_without_a_tracer_contexts_are_handed_on(parent: str | None) -> None:
    """A context from outside reaches what is below unchanged, and none is made up."""
    feed = ActivityFeed()

    assert feed.begin(parent) == parent
    assert feed.child(parent) == parent
