"""What people look at after a restart: the flow of a thread is made of what the journal has kept."""

from functools import partial
from pathlib import Path

import anyio

from organism import Context, Organism, Text, agent
from organism.amounts import TokenUsage
from organism.control.observed.history import History
from organism.messages import Envelope
from organism.stores.sqlite import SqliteJournal
from organism.testing import CrashingJournal, ScriptedProvider, VirtualClock, run
from organism.usage.events import ThreadOpened, UsageEvent

SECOND = 1_000_000_000


@agent(next="writer")
async def planner(message: Text, ctx: Context) -> Text:
    """Ask twice, and hand on."""
    for _ in range(2):
        await ctx.llm.complete("plan", max_output_tokens=5)
    return Text("a plan")


@agent()
async def writer(message: Text, ctx: Context) -> Text:
    """Ask once and then take long."""
    await ctx.llm.complete("write", max_output_tokens=5)
    await anyio.sleep(100)
    return Text("a text")


def test_flow_of_a_thread_outlives_the_process(tmp_path: Path) -> None:
    """Who spent what in which order, and what still waits, is shown after a restart; nothing is counted twice."""
    path = tmp_path / "j.db"

    def organism() -> Organism:
        return Organism(
            [planner, writer],
            models={"main": "scripted/m"},
            providers={"scripted": ScriptedProvider(["one two"], latency_s=1)},
            provider_kinds={"scripted": "local"},
            clock=VirtualClock(),
            journal=SqliteJournal(path),
        )

    async def before() -> str:
        async with organism() as it:
            thread = (await it.control.open_thread("go")).thread_id
            await anyio.sleep(5)
            flow = (await it.control.queries.thread(thread, content=True)).messages
            assert [(hop.sender, hop.recipient, hop.calls, hop.text) for hop in flow] == [
                ("user", "planner", 0, "go"),
                ("planner", "writer", 2, "a plan"),
            ]
            return thread

    async def after(thread: str) -> None:
        async with organism() as it:
            queries = it.control.queries
            flow = (await queries.thread(thread, content=True)).messages
            assert [(hop.sender, hop.recipient, hop.calls, hop.text, hop.recalled) for hop in flow] == [
                ("user", "planner", 0, None, False),
                ("planner", "planner", 2, None, True),
                ("planner", "writer", 0, "a plan", False),
                ("writer", "writer", 1, None, True),
            ]
            assert [agent.flows for agent in queries.agents()] == [(), ()]  # counted by the process that they flowed in
            assert flow[1].tokens == 2 * 3
            await it.wait(thread)
            last = (await queries.thread(thread)).messages[-1]
            assert (last.sender, last.recipient, last.calls, last.text) == ("writer", "user", 0, None)

    run(after, run(before))


def test_message_that_began_a_thread_is_shown_while_it_waits(tmp_path: Path) -> None:
    """A thread whose first message has not been handled shows it once, with its text for those who may see it."""
    path = tmp_path / "j.db"

    async def scenario() -> None:
        for round_ in range(2):
            async with Organism([writer], clock=VirtualClock(), journal=SqliteJournal(path)) as it:
                if round_ == 0:
                    await it.control.pause_agent("writer")
                    thread = (await it.control.open_thread("go")).thread_id
                    await it.control.send(thread, "on")
                flow = (await it.control.queries.thread(thread, content=True)).messages
                assert [(hop.sender, hop.recipient, hop.text) for hop in flow] == [
                    ("user", "writer", "go"),
                    ("user", "writer", "on"),
                ]

    run(scenario)


def test_thread_that_has_just_ended_is_not_unknown_before_that_is_kept() -> None:
    """Whoever asks between a thread's end and its commit learns of the end once no crash can take it back."""

    @agent()
    async def quick(message: Text, ctx: Context) -> Text:
        return Text("done")

    async def scenario() -> None:
        journal = CrashingJournal(latency_s=lambda: 1.0)
        async with Organism([quick], clock=VirtualClock(), journal=journal) as it, anyio.create_task_group() as tasks:
            tasks.start_soon(partial(it.control.open_thread, "go", thread_id="t"))
            await anyio.sleep(0.5)
            written = journal.written
            assert not it.pump.threads(), "it has ended, and nothing of that is written"
            detail = await it.control.queries.thread("t")
            assert detail.thread.closed_ns
            assert journal.written > written

    run(scenario)


def test_each_message_has_its_own_cost_where_threads_run_side_by_side() -> None:
    """A call is charged to the message it has made, also when another's, made earlier, went its way later."""
    history, usage = History(), TokenUsage(input=3, output=2)
    for thread in ("mine", "other"):
        opened = ThreadOpened(thread_id=thread, root_thread_id=thread, entry="first", opened_by="user", time_ns=SECOND)
        history.on_event(opened)
    for thread, made_ns in (("mine", 5 * SECOND), ("other", 5 * SECOND - 2_000)):
        envelope = Envelope(
            id=thread, thread_id=thread, sender="first", recipient="last", created_ns=made_ns, payload=Text("x")
        )
        history.carried.add(thread, envelope, made_ns)
    event = UsageEvent(
        thread_id="mine",
        root_thread_id="mine",
        time_ns=5 * SECOND - 1_000,
        agent="first",
        call_id="c",
        attempt=1,
        provider="p",
        model="m",
        request_model="m",
        response_model="m",
        usage=usage,
        cost_nanousd=7,
        price_source=None,
        latency_ns=1,
        outcome="settled",
    )
    history.on_event(event)
    assert [(hop.sender, hop.calls, hop.cost_nanousd) for hop in history.hops("mine", content=False)] == [
        ("user", 0, 0),
        ("first", 1, 7),
    ]
