"""Child threads: whom they are for is named everywhere, and what waits for their budgets goes on or says why not."""

from typing import Any

import anyio
import pytest

from organism import BudgetExhaustedError, BudgetPlan, Context, Gathered, Limits, Organism, Text, agent
from organism.messages import AgentFailed, BudgetWarning
from organism.stores.sqlite import SqliteJournal
from organism.testing import ScriptedProvider, VirtualClock, run
from organism.threads.approvals import Decision
from organism.usage.activity import HandlerRan
from organism.usage.events import AgentSaid, AnyEvent, ThreadBlocked, ThreadClosed, ThreadOpened, ThreadResumed
from organism.usage.run_report import build_report

ran: list[tuple[str, str, str]] = []


@agent(peers=["worker", "joiner", "failing"], timeout_s=100_000)
async def lead(message: Text, ctx: Context) -> Text:
    """Have a child do what the message says, by the agent that it names."""
    who, _, what = message.text.partition(" ")
    ran.append(("lead", ctx.thread_id, ctx.sender))
    result = await ctx.spawn(who, Text(what))
    return Text(" ".join(output.text for output in result.outputs if isinstance(output, Text)) or result.outcome)


@agent(next="second", timeout_s=100_000)
async def worker(message: Text, ctx: Context) -> Text | None:
    """Answer in the way that the message names."""
    ran.append(("worker", ctx.thread_id, ctx.sender))
    match message.text:
        case "reply":
            ctx.reply(Text("reply"))
        case "send":
            ctx.send(ctx.sender, Text("send"))
        case "user":
            ctx.send("user", Text("user"))
        case "approve":
            await ctx.approval("it")
            ctx.reply(Text("approve"))
        case _:
            return message  # to the second, who answers for this one
    return None


@agent()
async def second(message: Text, ctx: Context) -> Text:
    """Answer for the worker."""
    return message


@agent(gather=["lead", "worker"])
async def joiner(message: Text | Gathered, ctx: Context) -> Text:
    """Wait for messages of two agents of one thread."""
    ran.append(("joiner", ctx.thread_id, ctx.sender))
    return Text("joined" if isinstance(message, Gathered) else message.text)


@agent()
async def failing(message: Text, ctx: Context) -> Text:
    """Fail."""
    raise ValueError(message.text)


def team(**options: Any) -> tuple[Organism, list[Any]]:
    ran.clear()
    told: list[Any] = []
    organism = Organism([lead, worker, second, joiner, failing], clock=VirtualClock(), **options)
    for kind in (AgentSaid, ThreadOpened, ThreadBlocked, ThreadResumed):
        organism.usage.subscribe(told.append, kind)
    return organism, told


@pytest.mark.parametrize("way", ["reply", "send", "user", "return"])
def test_a_child_s_parties_are_named_as_they_are(way: str) -> None:
    """A child hears from the agent that spawned it and answers to it: in the context, in events, flow and reports."""

    async def main() -> None:
        organism, told = team()
        runs: list[HandlerRan] = []
        organism.activity.observe(lambda seen: runs.append(seen) if isinstance(seen, HandlerRan) else None)
        async with organism:
            result = await organism.run(f"worker {way}")
            await anyio.sleep(1)
            opened = [event for event in told if isinstance(event, ThreadOpened)]
            (child,) = [event.thread_id for event in opened if event.parent_thread_id]
            assert [event.opened_by for event in opened] == ["user", "lead"]
            assert ("worker", child, "lead") in ran
            assert [each.sender for each in runs if each.agent == "worker"] == ["lead"]
            said = [event for event in told if isinstance(event, AgentSaid) and event.thread_id == child]
            assert (said[0].agent, said[0].recipient, said[0].output) == ("lead", "worker", False)
            assert (said[-1].recipient, said[-1].text, said[-1].output) == ("lead", way, True)
            flow = (await organism.control.queries.thread(result.thread_id, content=True)).messages
            of_child = [(hop.sender, hop.recipient, hop.text) for hop in flow if hop.thread_id == child]
            assert of_child[0] == ("lead", "worker", way)
            assert of_child[-1][1:] == ("lead", way)
            assert not any("user" in hop[:2] for hop in of_child)
            assert (await organism.control.queries.thread(child)).thread.opened_by == "lead"
        assert result.outputs == (Text(way),)
        events: list[AnyEvent] = told
        assert build_report(events, result.thread_id).answer == way
        assert build_report(events, child).answer == way
        assert not any(name == "lead" and thread == child for name, thread, _ in ran)

    run(main)


def test_a_child_that_fails_tells_the_handler_that_spawned_it_and_nobody_in_its_own_thread() -> None:
    """No agent is woken in the child's thread for being the namesake of the one above that began it."""
    heard: list[AgentFailed] = []

    @agent(name="lead", peers=["failing"])
    async def listener(message: Text | AgentFailed, ctx: Context) -> Text:
        if isinstance(message, AgentFailed):
            heard.append(message)
            return Text("heard")
        return Text((await ctx.spawn("failing", message)).outcome)

    async def main() -> None:
        async with Organism([listener, failing], clock=VirtualClock()) as organism:
            assert (await organism.run("go")).outputs == (Text("failed"),)

    run(main)
    assert heard == []


def test_a_child_s_first_message_joins_no_others() -> None:
    """An agent that waits for several senders of a thread handles at once what its thread was spawned with."""

    async def main() -> None:
        organism, _ = team()
        async with organism:
            assert (await organism.run("joiner alone")).outputs == (Text("alone"),)

    run(main)


def test_a_child_s_parties_are_the_same_after_a_restart(tmp_path: Any) -> None:
    """What a child answers after a restart goes to whoever has spawned it before."""

    async def first() -> None:
        organism, _ = team(journal=SqliteJournal(tmp_path / "journal.db"))
        async with organism:
            await organism.open_thread("worker approve", thread_id="t")
            await anyio.sleep(1)

    async def again() -> None:
        organism, told = team(journal=SqliteJournal(tmp_path / "journal.db"))
        async with organism:
            (child,) = [view.thread_id for view in organism.threads() if view.parent_thread_id]
            flow = (await organism.control.queries.thread(child)).messages
            assert [(hop.sender, hop.recipient) for hop in flow] == [("lead", "worker")]
            (approval,) = organism.approvals.waiting()
            await organism.approvals.decide(approval.id, Decision(True))
            await organism.wait("t")
            said = [event for event in told if isinstance(event, AgentSaid) and event.thread_id == child]
            assert [(event.recipient, event.output) for event in said] == [("lead", True)]
            assert ("worker", child, "lead") in ran

    run(first)
    run(again)


# -- budgets that children hold ----------------------------------------------------------------------------------------


@agent(peers=["child"], timeout_s=100_000)
async def carver(message: Text, ctx: Context) -> Text:
    """Carve as much as the message says for each of several children at once."""

    async def carve(number: int, tokens: int) -> None:
        await anyio.sleep(number / 1000)  # in the same order in every run: children are known by their number
        await ctx.spawn("child", Text(str(number)), limits=Limits(tokens=tokens), budget="carved")

    async with anyio.create_task_group() as tasks:
        for number, tokens in enumerate(map(int, message.text.split())):
            tasks.start_soon(carve, number, tokens)
    return Text("all")


@agent(timeout_s=1000)
async def child(message: Text, ctx: Context) -> Text:
    """Take long, and let the first need more than it has."""
    await anyio.sleep(100)
    if message.text == "0":
        await ctx.llm.complete("word " * 3000, max_output_tokens=5)
    return Text("ok")


def carving(*, wait_s: float, **options: Any) -> tuple[Organism, list[Any]]:
    told: list[Any] = []
    options = {"limits": Limits(tokens=2000), "providers": {"s": ScriptedProvider(latency_s=200)}} | options
    agents = options.pop("agents", [carver, child])
    organism = Organism(agents, models={"m": "s/x"}, clock=VirtualClock(), wait_s=wait_s, **options)
    organism.usage.subscribe(told.append, ThreadBlocked, ThreadResumed)
    return organism, told


@pytest.mark.parametrize("wait_s", [0.0, 30.0, 1000.0])
def test_what_waits_for_a_child_that_is_blocked_says_so_and_goes_on_with_it(wait_s: float) -> None:
    """A thread that nobody will give room back to is blocked, not open for ever, and goes on when the child can."""

    async def main() -> None:
        organism, told = carving(wait_s=wait_s)
        async with organism:
            thread = await organism.open_thread("1500 1500")
            with anyio.fail_after(1000), pytest.raises(BudgetExhaustedError, match="budget exhausted in"):
                await organism.wait(thread)
            (waits,) = [view.thread_id for view in organism.threads() if view.parent_thread_id]
            assert {event.thread_id for event in told} == {thread, waits}
            await organism.set_limits(thread, Limits(tokens=20_000))
            await organism.set_limits(waits, Limits(tokens=15_000))
            with anyio.fail_after(1000):
                assert (await organism.wait(thread)).outcome == "completed"

    run(main)


@pytest.mark.parametrize("wait_s", [0.0, 5.0])
def test_who_waits_for_others_calls_is_waited_for(wait_s: float) -> None:
    """A thread whose room another's call gives back is no thread to be raised: nobody is told, and `wait` waits."""

    @agent(timeout_s=1000)
    async def eater(message: Text, ctx: Context) -> Text:
        await ctx.llm.complete("word " * 420, max_output_tokens=100)
        return Text("ok")

    async def main() -> None:
        plan = BudgetPlan(thread=Limits(seconds=500), windows={"day": Limits(tokens=1400)})
        organism, told = carving(wait_s=wait_s, agents=[eater], limits=plan)
        async with organism:
            threads = [await organism.open_thread("go") for _ in range(2)]
            await anyio.sleep(20)
            assert sorted(view.status for view in organism.threads()) == ["blocked", "open"]
            for thread in threads:
                assert (await organism.wait(thread)).outcome == "completed"
        assert told == []

    run(main)


def test_a_cousin_s_carve_is_waited_for_without_an_alarm() -> None:
    """Children of two children share the root's limit: who comes second waits, and nobody calls for a person."""

    @agent(peers=["carver"], timeout_s=100_000)
    async def top(message: Text, ctx: Context) -> Text:
        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(ctx.spawn, "carver", message)
        return Text("all")

    @agent(timeout_s=1000)
    async def child(message: Text, ctx: Context) -> Text:
        await anyio.sleep(100)
        return Text("ok")

    async def main() -> None:
        organism, told = carving(wait_s=5, agents=[top, carver, child])
        async with organism:
            assert (await organism.run("1500")).outcome == "completed"
            assert told == []

    run(main)


@agent(peers=["both"])
async def top(message: Text, ctx: Context) -> Text:
    """Have a child thread of which only that is ended."""
    return Text((await ctx.spawn("both", message)).outcome)


@agent(next=["again", "patient"])
async def both(message: Text, ctx: Context) -> Text | None:
    """Have two agents open children side by side."""
    return message if ctx.sender == "top" else None


@agent(peers=["sleeper"])
async def again(message: Text, ctx: Context) -> None:
    """Open one child after another, however the one before has ended."""
    for _ in range(5):
        await ctx.spawn("sleeper", message)


@agent(peers=["calling"])
async def patient(message: Text, ctx: Context) -> None:
    """Have a child that takes long to end."""
    await ctx.spawn("calling", message)


@agent()
async def sleeper(message: Text, ctx: Context) -> None:
    """Take long, and end at once by order."""
    await anyio.sleep(100)


@agent()
async def calling(message: Text, ctx: Context) -> None:
    """Ask a model that takes long: the call is waited for."""
    await ctx.llm.complete(message.text, max_output_tokens=9)


@pytest.mark.parametrize("seed", range(4))
def test_a_thread_that_is_ended_opens_no_other_child(seed: int) -> None:
    """An order to end a thread ends its children and is done, whatever its handlers do when they see one end."""

    async def scenario() -> None:
        organism = Organism(
            [top, both, again, patient, sleeper, calling],
            models={"m": "s/m"},
            providers={"s": ScriptedProvider(["yes"], latency_s=10)},
            clock=VirtualClock(),
        )
        async with organism:
            root = await organism.open_thread("go")
            await anyio.sleep(1)
            (child,) = organism.thread(root).children
            with anyio.fail_after(50):
                result = await organism.terminate(child)
                assert (await organism.wait(root)).outputs == (Text("terminated"),)
            assert result.outcome == "terminated"
            assert organism.threads() == ()
            opened = [each for each in await organism.events_after("") if isinstance(each, ThreadOpened)]
            assert len(opened) == 4

    run(scenario, seed=seed)


@agent(peers=["sleeper"])
async def nurse(message: Text, ctx: Context) -> Text:
    """Open a child for each of the seconds in the message."""
    async with anyio.create_task_group() as group:
        for _ in range(int(message.text)):
            group.start_soon(ctx.spawn, "sleeper", Text("sleep"))
            await anyio.sleep(1)
    return message


def test_children_end_in_the_order_in_which_they_were_opened() -> None:
    """Ending a thread is the same in every run, whatever its children are called: a failure can be run again."""

    async def scenario() -> None:
        async with Organism([nurse, sleeper], clock=VirtualClock()) as organism:
            root = await organism.open_thread("9")
            await anyio.sleep(20)
            await organism.terminate(root)
            events = await organism.events_after("")
            opened = [each.thread_id for each in events if isinstance(each, ThreadOpened)]
            assert [each.thread_id for each in events if isinstance(each, ThreadClosed)] == opened[1:] + opened[:1]

    run(scenario)


def test_a_child_s_end_that_warns_a_paused_agent_is_heard_by_its_parent() -> None:
    """The warning comes in the step in which the child ends: its parent goes on with the result once it may."""

    @agent(peers=["spender"])
    async def boss(message: Text, ctx: Context) -> Text:
        await ctx.llm.complete("x", max_output_tokens=500)
        return Text((await ctx.spawn("spender", message, limits=Limits(tokens=1400), budget="carved")).outcome)

    @boss.on(BudgetWarning)
    async def warned(message: BudgetWarning, ctx: Context) -> None:
        pass

    @agent()
    async def spender(message: Text, ctx: Context) -> None:
        await ctx.llm.complete("x", max_output_tokens=1000)

    async def main() -> None:
        provider = ScriptedProvider(["w " * 500, "w " * 1000], latency_s=5)
        async with Organism(
            [boss, spender],
            models={"m": "p/m"},
            providers={"p": provider},
            limits=BudgetPlan(thread=Limits(tokens=2000), warn_ahead=0, final_reserve_percent=0),
            clock=VirtualClock(),
        ) as organism:
            thread = await organism.open_thread("go")
            await anyio.sleep(6)
            await organism.control.pause_agent("boss")
            await anyio.sleep(10)
            await organism.control.resume_agent("boss")
            with anyio.fail_after(10):
                assert (await organism.wait(thread)).text == "completed"

    run(main)
