"""A message that waits for a person or for budget holds nothing else up, and comes next when it may go on."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from organism import BudgetExhaustedError, BudgetPlan, Context, Limits, Organism, Text, agent, llm_agent
from organism.agents.tools.function_tool import function_tool
from organism.agents.tools.tool import ToolRules
from organism.budgets import ScopeRule
from organism.llm.requests import ToolCall
from organism.stores.sqlite import SqliteJournal
from organism.testing import CrashingJournal, ScriptedAnswer, ScriptedProvider, VirtualClock, run
from organism.threads.approvals import ApprovalNeededError, Decision
from organism.usage.events import ThreadBlocked

seen: list[str] = []


@agent(peers=["clerk", "caller", "plain"])
async def clerk(message: Text, ctx: Context) -> Text | None:
    """Do what the message says, with or without somebody to wait for."""
    seen.append(f"{message.text} begins")
    what, _, rest = message.text.partition(" ")
    if what == "approve":
        await ctx.approval(rest)
    elif what == "call":
        await ctx.llm.complete("word " * int(rest), max_output_tokens=5)
    elif what == "ask":
        await ctx.ask("caller", Text(rest), timeout_s=10)
    elif what == "spawn":
        await ctx.spawn("caller", Text(rest))
    elif what == "later":
        ctx.send("clerk", Text(rest), delay_s=50)
        return None
    elif what == "note":
        ctx.state["notes"] = [*ctx.state.get("notes", []), rest]
    seen.append(f"{message.text} ends")
    return Text(message.text)


@agent()
async def caller(message: Text, ctx: Context) -> Text:
    """Need a person, or budget."""
    if message.text == "approve":
        await ctx.approval("it")
    else:
        await ctx.llm.complete("word " * int(message.text), max_output_tokens=5)
    return Text("called")


@agent()
async def plain(message: Text, ctx: Context) -> Text:
    """Need nothing."""
    seen.append(f"plain {message.text}")
    return Text("plain")


def made(**options: Any) -> Organism:
    seen.clear()
    return Organism(
        [clerk, caller, plain],
        models={"m": "s/x"},
        providers={"s": ScriptedProvider()},
        provider_kinds={"s": "local"},
        clock=VirtualClock(),
        **{"limits": Limits(tokens=200), "wait_s": 1, **options},
    )


async def let_go(organism: Organism, thread: str) -> None:
    """Give what is waited for."""
    asked = organism.approvals.waiting()
    for approval in asked:
        await organism.approvals.decide(approval.id, Decision(True))
    if not asked:
        await organism.control.set_limits(thread, Limits(tokens=100_000))


WAITING = ["approve it", "call 5000", "ask approve", "ask 5000", "spawn approve", "spawn 5000"]


@pytest.mark.parametrize("later", ["note x", "to plain", "later note x", "call 5"])
@pytest.mark.parametrize("waiting", WAITING)
def test_later_messages_that_need_neither_are_handled_while_one_waits(waiting: str, later: str) -> None:
    """A correction sent into a conversation that waits is handled at once, by whichever agent, now or after a delay."""

    async def main() -> None:
        async with made() as organism:
            thread = await organism.open_thread(waiting)
            with pytest.raises(
                (ApprovalNeededError, BudgetExhaustedError), match=r"waits for a person|budget exhausted in"
            ):
                await organism.wait(thread)
            assert f"{waiting} ends" not in seen
            await organism.send(thread, later, to="plain" if later == "to plain" else None)
            await anyio.sleep(100)
            assert ("plain to plain" if later == "to plain" else f"{later.removeprefix('later ')} ends") in seen
            assert organism.thread(thread).status == "blocked"
            assert f"{waiting} ends" not in seen
            await let_go(organism, thread)
            assert (await organism.wait(thread)).outcome == "completed"
            assert seen.count(f"{waiting} ends") == 1

    run(main)


def test_those_that_wait_go_on_in_their_order_before_all_that_has_not_begun() -> None:
    """Raising a limit releases what waited first come, first served, each once."""

    async def main() -> None:
        async with made() as organism:
            thread = await organism.open_thread("call 5000")
            for text in ("call 5001", "note a", "call 5002"):
                await organism.send(thread, text)
            await anyio.sleep(10)
            assert [line for line in seen if line.endswith("ends")] == ["note a ends"]
            await organism.control.pause_thread(thread)
            await organism.control.set_limits(thread, Limits(tokens=100_000))
            await organism.send(thread, "note b")
            await organism.control.resume_thread(thread)
            await organism.wait(thread)
        ends = [line.removesuffix(" ends") for line in seen if line.endswith("ends")]
        assert ends == ["note a", "call 5000", "call 5001", "call 5002", "note b"]

    run(main)


def test_each_answer_of_a_person_lets_only_its_own_message_go_on() -> None:
    """Two messages that ask two things do not run again for each other's answers."""

    async def main() -> None:
        async with made() as organism:
            thread = await organism.open_thread("approve one")
            await organism.send(thread, "approve two")
            await anyio.sleep(1)
            first, second = organism.approvals.waiting()
            assert (first.what, second.what) == ("one", "two")
            await organism.approvals.decide(second.id, Decision(True))
            await anyio.sleep(1)
            assert seen == [
                "approve one begins",
                "approve two begins",
                "approve two begins",
                "approve two ends",
            ]
            assert organism.approvals.waiting() == (first,)
            await organism.approvals.decide(first.id, Decision(True))
            await organism.wait(thread)

    run(main)


def test_a_child_that_is_ended_lets_its_parent_go_on_that_waits_for_the_same() -> None:
    """A parent that waits for what its child waits for is not left behind when an order ends the child."""

    async def main() -> None:
        async with made() as organism:
            thread = await organism.open_thread("spawn approve")
            await anyio.sleep(1)
            child = next(view.thread_id for view in organism.threads() if view.parent_thread_id == thread)
            await organism.terminate(child)
            assert (await organism.wait(thread)).outcome == "completed"

    run(main)


def test_what_was_paid_is_not_paid_again_when_others_were_handled_meanwhile() -> None:
    """A model whose tool waits for a person remembers what came in between, and its first answer is paid once."""
    wipe_rules = ToolRules(approval="ask")

    async def wipe() -> str:
        """Wipe."""
        return "wiped"

    def answer(request: Any) -> ScriptedAnswer | str:
        texts = [str(part.content) for part in request.messages]
        if "correction" in texts[-1]:
            return "noted"
        if "please wipe" in texts[-1]:
            return ScriptedAnswer(tool_calls=(ToolCall("c", "wipe", "{}"),))
        return "done"

    provider = ScriptedProvider(answer)

    async def main() -> list[str]:
        bot = llm_agent("bot", tools=[function_tool(wipe, rules=wipe_rules)])
        organism = Organism([bot], models={"m": "s/x"}, providers={"s": provider}, clock=VirtualClock())
        async with organism:
            thread = await organism.open_thread("please wipe")
            await anyio.sleep(1)
            await organism.send(thread, "a correction")
            await anyio.sleep(1)
            (approval,) = organism.approvals.waiting()
            await organism.approvals.decide(approval.id, Decision(True))
            result = await organism.wait(thread)
        return [message.text for message in result.outputs if isinstance(message, Text)]

    assert run(main)[0] == "noted"
    asked = [str(request.messages[-1].content) for request in provider.requests]
    assert sum("please wipe" in text for text in asked) == 1


Order = Callable[[Organism], Awaitable[None]]


@pytest.mark.parametrize("waiting", ["approve it", "call 5000", "ask approve", "spawn 5000"])
def test_what_waits_still_waits_after_a_restart_and_holds_nothing_up(waiting: str, tmp_path: Path) -> None:
    """What has stepped aside is there after a restart, later messages are handled, and it ends once."""

    async def first() -> None:
        async with made(journal=SqliteJournal(tmp_path / "journal.db")) as organism:
            await organism.open_thread(waiting, thread_id="t")
            await anyio.sleep(5)
            await organism.send("t", "note a")
            await anyio.sleep(5)

    async def second() -> None:
        async with made(journal=SqliteJournal(tmp_path / "journal.db")) as organism:
            await organism.send("t", "note b")
            await anyio.sleep(5)
            assert seen == ["note b begins", "note b ends"]
            await let_go(organism, "t")
            assert (await organism.wait("t")).outcome == "completed"
            assert seen.count(f"{waiting} ends") == 1

    run(first)
    run(second)


# -- room that others hold ---------------------------------------------------------------------------------------------


@agent(peers=["child"], timeout_s=100_000)
async def lead(message: Text, ctx: Context) -> Text:
    """Carve the same for several children at once."""
    async with anyio.create_task_group() as tasks:
        for number in range(int(message.text)):
            tasks.start_soon(carve, ctx, number)
    return Text("all")


async def carve(ctx: Context, number: int) -> None:
    await anyio.sleep(number / 1000)  # in the same order in every run: children are known by their number
    await ctx.spawn("child", Text(str(number)), limits=Limits(tokens=1500), budget="carved")


@agent(timeout_s=1000)
async def child(message: Text, ctx: Context) -> Text:
    """Take longer than anybody stands in line."""
    seen.append(message.text)
    await anyio.sleep(100)
    return Text("ok")


def team(**options: Any) -> Organism:
    seen.clear()
    return Organism(
        [lead, child],
        models={"m": "s/x"},
        providers={"s": ScriptedProvider()},
        clock=VirtualClock(),
        limits=Limits(tokens=2000),
        **options,
    )


@pytest.mark.parametrize("children", [2, 3, 5])
@pytest.mark.parametrize(
    ("wait_s", "on_exhausted"), [(0.0, "park"), (30.0, "park"), (1000.0, "park"), (1000.0, "fail")]
)
def test_a_carve_that_siblings_hold_up_goes_on_when_they_return_theirs(
    children: int, wait_s: float, on_exhausted: Any
) -> None:
    """Children whose limits do not fit together are opened one after another, first come, first served."""

    async def main() -> None:
        events: list[Any] = []
        organism = team(wait_s=wait_s, on_exhausted=on_exhausted)
        organism.usage.subscribe(events.append, ThreadBlocked)
        async with organism:
            thread = await organism.open_thread(str(children))
            result = await organism.wait(thread)
            assert result.outcome == "completed"
        assert seen == [str(number) for number in range(children)]
        assert events == []

    run(main)


@pytest.mark.parametrize("at", [1.0, 50.0, 120.0])
@pytest.mark.parametrize("wait_s", [0.0, 30.0])
def test_a_carve_that_waits_does_so_through_a_crash(wait_s: float, at: float) -> None:
    """A process that is killed while one waits for its siblings leaves nobody waiting for ever."""

    async def main() -> None:
        journal = CrashingJournal()
        organism = team(wait_s=wait_s, journal=journal)
        async with organism:
            await organism.open_thread("3", thread_id="t")
            await anyio.sleep(at)
            kept = journal.kept
            journal.kept = type(kept)(capacity=1)  # what is written from here on is lost
        again = team(wait_s=wait_s, journal=CrashingJournal(kept))
        async with again:
            result = await again.wait("t")
            assert result.outcome == "completed"
            assert again.budgets.states() == ()

    run(main)


def test_a_call_whose_room_another_thread_holds_goes_on_when_that_is_given_back() -> None:
    """A message that was refused only because of open holds is not left waiting for an order."""

    @agent()
    async def eater(message: Text, ctx: Context) -> Text:
        await ctx.llm.complete("x", max_output_tokens=600)
        return Text("ok")

    async def main() -> None:
        provider = ScriptedProvider(latency_s=80)
        plan = BudgetPlan(thread=Limits(), windows={"day": Limits(tokens=1000)})
        options: dict[str, Any] = {"models": {"m": "s/x"}, "providers": {"s": provider}, "clock": VirtualClock()}
        async with Organism([eater], limits=plan, wait_s=5, **options) as organism:
            threads = [await organism.open_thread("go") for _ in range(3)]
            await anyio.sleep(1000)
            assert [organism.pump.result(thread) is not None for thread in threads] == [True] * 3

    run(main)


def test_what_does_not_fit_below_where_a_limit_ends_is_not_run_again_until_others_give_back() -> None:
    """A limit that ends at 90 % has no room in its last tenth: a refused message waits there, run twice in all."""
    begun: list[str] = []

    @agent(timeout_s=1000)
    async def eater(message: Text, ctx: Context) -> Text:
        begun.append(message.text)
        if len(begun) > 20:
            raise RuntimeError("run again and again")
        await ctx.llm.complete(message.text, max_output_tokens=600 if message.text == "x" else 10)
        return Text("ok")

    async def main() -> None:
        long = "long " * 150
        rule = ScopeRule(thresholds=(90,), actions=((90, "park"),))
        plan = BudgetPlan(thread=Limits(), windows={"day": Limits(tokens=1000)}, rules={"day": rule})
        provider = ScriptedProvider(["word"], latency_s=80)
        options: dict[str, Any] = {"models": {"m": "s/x"}, "providers": {"s": provider}, "clock": VirtualClock()}
        async with Organism([eater], limits=plan, wait_s=0, **options) as organism:
            first = await organism.open_thread("x")
            await anyio.sleep(1)
            assert organism.budgets.states()[1].held.tokens == 649
            second = await organism.open_thread(long)  # it needs some 300: more than 900 leave, less than 1,000
            await anyio.sleep(40)
            assert begun == ["x", long]
            for thread in (first, second):
                assert (await organism.wait(thread)).outcome == "completed"
        assert begun == ["x", long, long]

    run(main)


def test_an_asker_goes_on_although_what_it_asks_has_waited_for_something_else_meanwhile() -> None:
    """Whom it asks waits for a child, which is ended, and then for a person: the asker waits for neither for ever."""

    @agent(peers=["middle"])
    async def first(message: Text, ctx: Context) -> Text:
        return await ctx.ask("middle", message, timeout_s=1000)

    @agent(peers=["child"])
    async def middle(message: Text, ctx: Context) -> Text:
        result = await ctx.spawn("child", message)
        await ctx.approval("go on without it")
        return Text(result.outcome)

    @agent()
    async def child(message: Text, ctx: Context) -> None:
        await ctx.approval("begin")

    async def waits_for(organism: Organism, what: str) -> str:
        await anyio.sleep(1)
        (asked,) = organism.approvals.waiting()
        assert asked.what == what
        return asked.id

    async def main() -> None:
        async with Organism([first, middle, child], clock=VirtualClock()) as organism:
            thread = await organism.open_thread("x", to="first")
            await waits_for(organism, "begin")
            (spawned,) = [view.thread_id for view in organism.threads() if view.thread_id != thread]
            await organism.control.terminate(spawned)
            await organism.approvals.decide(await waits_for(organism, "go on without it"), Decision(True))
            with anyio.fail_after(100):
                assert (await organism.wait(thread)).text == "terminated"

    run(main)
