"""How much flows between agents: every message once, in all and in the last minute."""

import anyio
import msgspec

from organism import Context, Limits, Organism, Text, agent
from organism.control.observed.message_flow import MessageFlow
from organism.testing import ScriptedProvider, VirtualClock, run

SECOND = 1_000_000_000


@agent(next=("pro", "contra"))
async def planner(message: Text, ctx: Context) -> Text:
    """Hand on to both."""
    return message


@agent(peers=("helper",))
async def pro(message: Text, ctx: Context) -> Text:
    """Ask somebody first."""
    return await ctx.ask("helper", message)


@agent
async def contra(message: Text, ctx: Context) -> Text:
    """Answer."""
    return message


@agent
async def helper(message: Text, ctx: Context) -> Text:
    """Answer."""
    return message


def seen(organism: Organism) -> dict[tuple[str, str], tuple[int, int]]:
    """Return every edge with its messages, in all and in the last minute."""
    return {
        (flow.sender, flow.recipient): (flow.messages, flow.last_minute)
        for view in organism.control.queries.agents()
        for flow in view.flows
    }


def test_every_message_is_counted_once_on_its_edge() -> None:
    """What users send, what agents hand on and ask, and what goes back to users; the last minute forgets."""

    async def main() -> None:
        async with Organism(
            [planner, pro, contra, helper],
            models={"m": "p/m"},
            providers={"p": ScriptedProvider()},
            limits=Limits(tokens=1000),
            clock=VirtualClock(),
            entry="planner",
        ) as running:
            for _ in range(3):
                thread = (await running.control.open_thread("go")).thread_id
                await running.wait(thread)
            counts = {
                ("user", "planner"): 3,
                ("planner", "pro"): 3,
                ("planner", "contra"): 3,
                ("pro", "helper"): 3,
                ("pro", "user"): 3,
                ("contra", "user"): 3,
            }
            found = seen(running)
            assert {edge: found[edge] for edge in counts} == {edge: (number, number) for edge, number in counts.items()}
            await anyio.sleep(61)
            assert {new for _, new in seen(running).values()} == {0}
            await running.wait((await running.control.open_thread("go")).thread_id)
            assert seen(running)["planner", "pro"] == (4, 1)

    run(main)


def test_what_flows_in_a_burst_is_of_its_minute_whenever_somebody_looks() -> None:
    """More messages than are kept, counted in one go, belong to the seconds in which they went their way."""

    @agent(peers=("helper",))
    async def much(message: Text, ctx: Context) -> None:
        for _ in range(50):
            ctx.send("helper", message)

    @agent
    async def done(message: Text, ctx: Context) -> None:
        pass

    async def main() -> None:
        agents = [much, msgspec.structs.replace(done, name="helper")]
        async with Organism(agents, limits=Limits(tokens=1000), clock=VirtualClock()) as running:
            for number in range(130):
                await running.wait(await running.open_thread("go"))
                await anyio.sleep(62 if number == 127 else 0.1)
            assert seen(running)["much", "helper"] == (6500, 100)

    run(main)


def test_what_a_clock_that_is_set_back_had_shown_is_of_no_minute() -> None:
    """Else everything would be of the last minute until the clock shows again what it has shown."""
    flow = MessageFlow()
    flow.count({("a", "b"): 5}, 7200 * SECOND)
    flow.count({("a", "b"): 1}, 3600 * SECOND)
    flow.count({("a", "b"): 1}, 3610 * SECOND)

    def seen_at(second: int) -> tuple[int, int]:
        (edge,) = flow.of("a", second * SECOND)
        return edge.messages, edge.last_minute

    assert seen_at(3611) == (7, 2)
    assert seen_at(3700) == (7, 0)


def test_message_into_an_open_thread_is_one_from_a_user() -> None:
    """Whatever users write is counted, and not the first message of each thread only."""

    @agent
    async def slow(message: Text, ctx: Context) -> None:
        await anyio.sleep(10)

    async def main() -> None:
        async with Organism([slow], limits=Limits(tokens=1000), clock=VirtualClock()) as running:
            thread = (await running.control.open_thread("go")).thread_id
            await running.control.send(thread, "more")
            await running.wait(thread)
            assert seen(running)["user", "slow"] == (2, 2)

    run(main)


def test_message_into_an_old_thread_is_of_the_minute_in_which_it_was_sent() -> None:
    """What a user writes into a thread that was quiet for long counts, and is told of, when it was written."""

    @agent
    async def slow(message: Text, ctx: Context) -> None:
        await anyio.sleep(110)

    async def main() -> None:
        clock = VirtualClock()
        async with Organism([slow], limits=Limits(tokens=1000), clock=clock) as running:
            thread = (await running.control.open_thread("go")).thread_id
            await anyio.sleep(100)
            await running.control.send(thread, "more")
            assert seen(running)["user", "slow"] == (2, 1)
            first, second = (await running.control.queries.thread(thread, content=True)).messages
            assert (first.text, second.text) == ("go", "more")
            assert second.time_ns - first.time_ns == 100 * SECOND

    run(main)


def test_a_minute_ends_while_nothing_flows_and_while_much_does() -> None:
    """A rate is of the last minute, at most a slot of five seconds less; messages from before are in the sum only."""
    flow = MessageFlow()
    for second in range(200):
        flow.count({("a", "b"): 1}, second * SECOND)
        (edge,) = flow.of("a", second * SECOND)
        assert edge.messages == second + 1
        assert min(second + 1, 56) <= edge.last_minute <= 60
    (edge,) = flow.of("a", 400 * SECOND)
    assert (edge.messages, edge.last_minute) == (200, 0)
    assert flow.of("b", 0) == ()
