"""The timeline of a thread: everything that has happened in it, once, in order, and nothing of others."""

from pathlib import Path
from random import Random

import pytest

from organism import Context, Limits, Organism, Text, agent
from organism.amounts import Amounts
from organism.control.listing import timeline_reader
from organism.control.listing.timeline import Timeline, items_of_holds, items_of_hops, nested
from organism.control.views import Hop
from organism.errors import ThreadClosedError
from organism.ledger.entries import CallRecord, Hold
from organism.testing import ScriptedProvider
from tests.api.conftest import make

pytestmark = pytest.mark.anyio


def told(timeline: Timeline) -> list[tuple[str, str, str]]:
    return [(item.kind, item.agent, item.title) for item in timeline.items]


async def test_timeline_tells_a_thread_in_order() -> None:
    """Opening, message, call with cost and length, answer and end stand in the order in which they happened."""
    async with make() as organism:
        await organism.control.open_thread(Text("secret words"), thread_id="mine")
        await organism.wait("mine")
        await organism.control.open_thread(Text("go"), thread_id="other")
        await organism.wait("other")
        bare = await organism.control.queries.timeline("mine")
        full = await organism.control.queries.timeline("mine", content=True)
    assert {item.thread_id for item in bare.items} == {"mine"}
    kinds = [item.kind for item in bare.items]
    assert sorted(kinds) == ["call", "message", "message", "order", "state", "state"]
    assert [item.at for item in bare.items] == sorted(item.at for item in bare.items)
    call = next(item for item in bare.items if item.kind == "call")
    assert (call.agent, call.title, call.tokens > 0) == ("writer", "main", True)
    assert "settled" in call.detail
    assert "secret words" not in str(bare.items)
    assert "secret words" in str(full.items)
    assert not bare.more


async def test_timeline_tells_refusals_orders_and_the_way_on() -> None:
    """Why a thread waited, who raised its limit, and that it went on are in its timeline."""
    async with make(limits=Limits(calls=0)) as organism:
        await organism.control.open_thread(Text("go"), thread_id="poor")
        await organism.pump.wait_rest("poor")
        waiting = told(await organism.control.queries.timeline("poor"))
        assert ("warning", "writer", "refused") in waiting
        assert ("state", "writer", "waits") in waiting
        await organism.control.set_limits("thread:poor", Limits(calls=5))
        await organism.wait("poor")
        after = [title for kind, _, title in told(await organism.control.queries.timeline("poor")) if kind != "message"]
    assert after.index("waits") < after.index("budget.limits") < after.index("completed")
    assert after.count("main") == 1


def test_what_is_held_for_a_call_under_way_is_shown() -> None:
    """While a call is at its provider, the timeline has what is held for it and for how long it has been out."""
    call = CallRecord(
        thread_id="child",
        root_thread_id="mine",
        agent="writer",
        message_id="m",
        call_id="c",
        attempt=2,
        provider="p",
        model="main",
        request_model="m-1",
        input_tokens=1,
        output_cap=2,
        price_source="test",
    )
    held = Amounts(tokens=40, cost_nanousd=7)
    out = Hold("h1", ("thread:child",), held, dispatched=True, call=call, dispatched_ns=1_000_000_000)
    carved = Hold("h2", ("thread:mine",), held)
    (item,) = items_of_holds((out, carved), "mine", 3_500_000_000)
    assert (item.kind, item.thread_id, item.tokens, item.cost_nanos) == ("hold", "child", 40, 7)
    assert (item.at, item.duration_ms) == (1_000_000_000, 2_500)
    assert (item.title, item.detail) == ("main under way", "attempt 2 at p/m-1")
    assert not list(items_of_holds((out, carved), "other", 0))


async def test_timeline_of_nothing_is_refused() -> None:
    """A thread that never was has no empty timeline."""
    async with make() as organism:
        with pytest.raises(ThreadClosedError, match="thread 'nobody' is not open"):
            await organism.control.queries.timeline("nobody")


@pytest.mark.parametrize("page", [1, 2, 3, 1000])
async def test_only_the_events_of_its_life_are_read(page: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Of a long log, the part from a thread's opening on is found without reading the rest, after a restart too."""
    monkeypatch.setattr(timeline_reader, "_PAGE", page)
    titles = []
    for begun in (False, True):
        async with make(journal=tmp_path / "journal.db") as organism:
            for number in range(0 if begun else 12):
                await organism.control.open_thread(Text("go"), thread_id=f"th_{number}")
                await organism.wait(f"th_{number}")
            found = await organism.control.queries.timeline("th_7")
            titles.append([item.title for item in found.items if item.kind != "message"])
            cut = await organism.control.queries.timeline("th_7", limit=2)
            assert cut.items == found.items[-2:]
            assert cut.more
    assert titles[0] == titles[1] == ["opened", "thread.open", "main", "completed"]


async def test_what_happened_in_the_handling_of_a_message_is_under_it() -> None:
    """A trace is a tree: each call, answer and child is under the message that led to it, whatever ran beside it."""

    @agent(peers=["write"])
    async def plan(message: Text, ctx: Context) -> Text:
        await ctx.llm.complete("how?")
        await ctx.gather([("write", Text("one")), ("write", Text("two"))])
        return Text("done")

    @agent
    async def write(message: Text, ctx: Context) -> Text:
        said = await ctx.llm.complete(message.text)
        return Text(said.text)

    providers = {"s": ScriptedProvider(["well"])}
    async with Organism([plan, write], models={"main": "s/m"}, providers=providers, entry="plan") as organism:
        thread = await organism.open_thread(Text("go"))
        await organism.wait(thread)
        timeline = await organism.control.queries.timeline(thread, content=True)

    by_id = {item.id: item for item in timeline.items if item.id}
    led_to = {
        (item.kind, item.agent, item.detail if item.kind == "message" else item.title): (
            by_id[item.under].detail if item.under else ""
        )
        for item in timeline.items
    }
    assert (
        led_to["message", "plan", "one"] == led_to["message", "plan", "two"] == led_to["call", "plan", "main"] == "go"
    )
    calls = [item for item in timeline.items if (item.kind, item.agent) == ("call", "write")]
    assert {by_id[item.under].detail for item in calls} == {"one", "two"}


def test_nothing_is_under_what_is_under_it() -> None:
    """Clocks may disagree and messages may be unknown: each thing is in the tree once, and there is no circle."""
    chance = Random(5)
    for _ in range(200):
        hops = [
            Hop(number=number, time_ns=chance.randrange(5), thread_id=chance.choice("ab"), root_thread_id="a",
                sender=chance.choice("xy"), recipient=chance.choice("xy"), message_type="T",
                id=f"m{number}" if chance.random() < 0.7 else "",
                caused_by=f"m{chance.randrange(number)}" if number and chance.random() < 0.5 else "")
            for number in range(8)
        ]  # fmt: skip
        items = nested(sorted(items_of_hops(hops), key=lambda item: item.at), hops)
        under = {item.id: item.under for item in items}
        assert len(under) == len(hops)
        for name, above in under.items():
            seen = {name}
            while above:
                assert above not in seen
                seen.add(above)
                above = under[above]  # noqa: PLW2901 - the way up


def test_nothing_is_under_itself() -> None:
    """Ids that name each other in a ring are no tree: the message that came first stays at the top, and it ends."""
    common = {"thread_id": "t", "root_thread_id": "t", "sender": "a", "recipient": "b", "message_type": "Text"}
    ring = (("x", "y"), ("y", "x"), ("z", "z"), ("lone", "gone"))
    hops = [
        Hop(number=number, time_ns=number, id=own, caused_by=cause, **common)
        for number, (own, cause) in enumerate(ring)
    ]
    found = nested(items_of_hops(hops), hops)
    assert [(item.id, item.under) for item in found] == [("x", ""), ("y", "x"), ("z", ""), ("lone", "")]
