"""An agent that goes round and round is told, then paused, then ended; one that gets somewhere is left alone."""

from pathlib import Path
from typing import Any

import anyio
import pytest

from organism import Agent, Context, Limits, Organism, Text, agent, llm_agent
from organism.agents.llm_agent import LLMSettings
from organism.agents.tools.function_tool import function_tool
from organism.agents.tools.tool import AgentTool
from organism.budget.guards.breakers import Breakers, RateBreaker
from organism.errors import BudgetExhaustedError, Refusal
from organism.llm.requests import CompletionRequest, TextPart, ToolCall
from organism.messages import LoopWarning, Message
from organism.runtime.bounds import Bounds
from organism.stores.sqlite import SqliteJournal
from organism.testing import ScriptedAnswer, ScriptedProvider, VirtualClock, run
from organism.usage.events import BreakerTripped, ThreadClosed

ALL = Breakers(rate=RateBreaker(times=10, minutes=3))


def calling(name: str, arguments: str = "{}") -> ScriptedAnswer:
    return ScriptedAnswer(tool_calls=(ToolCall("c", name, arguments),))


def tool(name: str, *results: str) -> AgentTool:
    """Make a tool that gives one result after another, and the last one for ever."""
    left = list(results)

    def work(of: str = "") -> str:
        """Work."""
        return left.pop(0) if len(left) > 1 else left[0]

    return function_tool(work, name=name)


def looping(*tools: AgentTool, rounds: int = 30) -> Agent:
    return llm_agent("looper", settings=LLMSettings(tool_rounds=rounds, tools=tools, memory_tokens=0))


def organism(provider: ScriptedProvider, *agents: Agent, breakers: Breakers | None = None, **options: Any) -> Organism:
    bounds = Bounds() if breakers is None else Bounds(breakers=breakers)
    options.setdefault("clock", VirtualClock())
    return Organism(agents, models={"m": "p/m"}, providers={"p": provider}, bounds=bounds, **options)


async def stopped(organism: Organism, thread: str) -> Refusal:
    """Wait until a breaker has paused a thread, and return what is said of it."""
    with pytest.raises(BudgetExhaustedError) as caught:
        await organism.wait(thread)
    assert organism.thread(thread).status == "paused"
    return caught.value.shortfall


def trips(events: list[BreakerTripped]) -> list[tuple[str, str, int]]:
    return [(event.breaker, event.action, event.step) for event in events]


def notes(request: CompletionRequest) -> list[str]:
    parts = [part for turn in request.messages for part in turn.parts]
    return [part.text for part in parts if isinstance(part, TextPart) and part.text.startswith("[Note")]


@pytest.mark.parametrize(
    ("script", "tools", "breaker", "calls"),
    [
        pytest.param([calling("look")], [tool("look", "nothing")], "repeat", 6, id="one tool"),
        pytest.param([calling("a"), calling("b")], [tool("a", "x"), tool("b", "y")], "alternate", 12, id="A-B-A-B"),
        pytest.param(
            [calling("look", '{"of":"a"}'), calling("look", '{ "of": "a" }')],
            [tool("look", "nothing")],
            "repeat",
            6,
            id="the same arguments, written otherwise",
        ),
        pytest.param([calling("gone")], [tool("look", "nothing")], "repeat", 6, id="a tool that is not there"),
    ],
)
@pytest.mark.parametrize("durable", [False, True], ids=["in memory", "in a file"])
def test_a_tool_loop_is_told_then_paused_then_ended(
    script: list[ScriptedAnswer], tools: list[AgentTool], breaker: str, calls: int, tmp_path: Path, *, durable: bool
) -> None:
    """The note comes with the results, the pause before the next call, the end if an operator lets it go on and on."""

    async def main() -> None:
        provider = ScriptedProvider(script)
        seen: list[BreakerTripped] = []
        journal = SqliteJournal(tmp_path / "journal.db") if durable else None
        async with organism(provider, looping(*tools), breakers=ALL, journal=journal) as running:
            running.usage.subscribe(seen.append, BreakerTripped)
            thread = await running.open_thread("go")
            why = await stopped(running, thread)
            assert why.cause == "breaker"
            assert f"organism unpause {thread}" in why.note
            assert len(provider.requests) == calls, "the pause comes before the next call"
            assert trips(seen) == [(breaker, "note", 1), (breaker, "pause", 2)]
            assert len(notes(provider.requests[-1])) == 1
            assert running.budgets.budget(thread).held.calls == 0

            await running.control.resume_thread(thread)
            result = await running.wait(thread)
            assert (result.outcome, seen[-1].action) == ("terminated", "stop")
            assert "breaker" in (result.reason or "")
            assert len(provider.requests) == calls + calls // 2, "nothing is paid again when it goes on"

    run(main)


def test_what_is_let_go_on_while_all_is_frozen_goes_on_when_that_is_over() -> None:
    """It waits for the freeze then, and for no breaker that nobody can lift: only a paused thread is resumed."""

    async def main() -> None:
        provider = ScriptedProvider([*[calling("look")] * 6, "done"])
        async with organism(provider, looping(tool("look", "nothing")), breakers=ALL) as running:
            thread = await running.open_thread("go")
            await stopped(running, thread)
            await running.control.freeze()
            await running.control.resume_thread(thread)
            with pytest.raises(BudgetExhaustedError) as caught:
                await running.wait(thread)
            assert caught.value.shortfall.cause == "freeze"
            await running.control.unfreeze()
            assert (await running.wait(thread)).text == "done"
            assert len(provider.requests) == 7

    run(main)


def test_results_that_change_and_arguments_that_change_are_no_loop() -> None:
    """A tool that is asked again for a state that goes on, or told to do one thing after another, trips nothing."""

    async def main() -> None:
        polled = [calling("poll") for _ in range(9)]
        written = [calling("write", f'{{"of":"{number}"}}') for number in range(9)]
        provider = ScriptedProvider([*polled, *written, "done"])
        tools = tool("poll", *(f"{number} %" for number in range(10))), tool("write", "ok")
        seen: list[BreakerTripped] = []
        async with organism(provider, looping(*tools), breakers=ALL) as running:
            running.usage.subscribe(seen.append, BreakerTripped)
            assert (await running.run("go")).text == "done"
            assert seen == []

    run(main)


@agent(peers=("pong",))
async def ping(message: Text, ctx: Context) -> None:
    """Send it on, a little longer."""
    ctx.send("pong", Text(message.text + "."))


@agent(peers=("ping",))
async def pong(message: Text, ctx: Context) -> None:
    """Send it back, a little longer."""
    ctx.send("ping", Text(message.text + "."))


def test_two_agents_that_only_write_to_each_other() -> None:
    """Whatever they write: they are told, their thread is paused, and it ends if it goes on like that."""

    async def main() -> None:
        seen: list[BreakerTripped] = []
        async with organism(ScriptedProvider(), ping, pong, breakers=ALL) as running:
            running.usage.subscribe(seen.append, BreakerTripped)
            thread = await running.open_thread("x")
            assert "have written to each other 6 times" in (await stopped(running, thread)).note
            await running.control.resume_thread(thread)
            assert (await running.wait(thread)).outcome == "terminated"
            assert trips(seen) == [("alternate", "note", 1), ("alternate", "pause", 2), ("alternate", "stop", 3)]

    run(main)


@agent
async def asker(message: Text, ctx: Context) -> Text:
    """Ask the same twelve times."""
    for _ in range(12):
        await ctx.llm.complete("the same", max_output_tokens=5)
    return Text("done")


@pytest.mark.parametrize("on_exhausted", ["park", "fail"])
def test_the_same_call_again_and_again(on_exhausted: Any) -> None:
    """A call is stopped before it is held; what was paid before the pause is not paid again after it."""

    async def main() -> None:
        provider = ScriptedProvider()
        async with organism(provider, asker, breakers=ALL, on_exhausted=on_exhausted) as running:
            thread = await running.open_thread("x")
            await stopped(running, thread)
            assert len(provider.requests) == 5, "the sixth is not made"
            await running.control.resume_thread(thread)
            result = await running.wait(thread)
            assert (result.outcome, len(provider.requests)) == ("terminated", 8)

    run(main)


def test_by_default_only_operators_are_told() -> None:
    """Without a configuration no prompt and no thread is changed: a loop shows in events, rarer the longer it lasts."""

    async def main() -> None:
        provider = ScriptedProvider([*(calling("look") for _ in range(22)), "done"])
        seen: list[BreakerTripped] = []
        async with organism(provider, looping(tool("look", "nothing"), rounds=23)) as running:
            running.usage.subscribe(seen.append, BreakerTripped)
            assert (await running.run("go")).text == "done"
            assert trips(seen) == [("repeat", "", 1), ("repeat", "", 2), ("repeat", "", 4)]
            assert notes(provider.requests[-1]) == []

    run(main)


def test_a_note_is_the_same_when_the_handler_is_run_again() -> None:
    """What was paid with a note in its prompt is found again with it, after a pause or a failure."""
    runs: list[int] = []

    def once_broken() -> str:
        """Fail at first."""
        runs.append(1)
        return "nothing"

    async def main() -> None:
        provider = ScriptedProvider([*(calling("once_broken") for _ in range(5)), "done"])
        looper = looping(function_tool(once_broken))
        async with organism(provider, looper, breakers=ALL, limits=Limits(calls=4, tokens=100_000)) as running:
            thread = await running.open_thread("go")
            with pytest.raises(BudgetExhaustedError, match="budget exhausted in"):
                await running.wait(thread)
            await running.set_limits(thread, Limits(calls=20, tokens=100_000))
            assert (await running.wait(thread)).text == "done"
            assert (len(provider.requests), len(runs)) == (6, 5)
            assert len([note for note in notes(provider.requests[-1]) if "same result" in note]) == 1

    run(main)


def test_an_agent_hears_of_it_as_a_message() -> None:
    """A Python agent that names the warning gets it, once for each step."""

    @agent
    async def listener(message: Text, ctx: Context) -> Text:
        """Ask the same three times."""
        for _ in range(3):
            await ctx.llm.complete("the same", max_output_tokens=5)
        return Text("done")

    heard: list[LoopWarning] = []

    @listener.on(LoopWarning)
    async def hear(message: LoopWarning, ctx: Context) -> None:
        """Remember it."""
        heard.append(message)

    async def main() -> None:
        async with organism(ScriptedProvider(), listener, breakers=Breakers(actions=("note",))) as running:
            await running.run("go")

    run(main)
    assert [(each.breaker, each.step) for each in heard] == [("repeat", 1)]


@agent(peers=("asker",))
async def parent(message: Text, ctx: Context) -> Message:
    """Let a child do it."""
    child = await ctx.spawn("asker", message, limits=Limits(tokens=5000))
    return Text(child.outcome)


def test_a_child_that_loops_is_found_by_those_who_wait_above() -> None:
    """The whole tree is paused, so that who waits for its root is told; going on goes on with the child."""

    async def main() -> None:
        async with organism(ScriptedProvider(), parent, asker, breakers=ALL) as running:
            thread = await running.open_thread("x", to="parent")
            assert "agent asker" in (await stopped(running, thread)).note
            await running.control.resume_thread(thread)
            assert (await running.wait(thread)).text == "terminated", "only the child ends"

    run(main)


def test_single_agents_have_breakers_of_their_own() -> None:
    """What an agent is given takes the place of what holds for all."""

    async def main() -> None:
        never = Agent(name="asker", handler=asker.handler, accepts=(Text,), breakers=Breakers(repeat=0))
        provider = ScriptedProvider()
        async with organism(provider, never, breakers=ALL) as running:
            assert (await running.run("x")).text == "done"
            assert len(provider.requests) == 12

    run(main)


@agent(timeout_s=1000)
async def spender(message: Text, ctx: Context) -> Text:
    """Spend a little each minute, then much."""
    for number in range(8):
        words = 2 if number < 5 else 200
        await ctx.llm.complete(f"{number} {message.text}", max_output_tokens=words)
        await anyio.sleep(60)
    return Text("done")


def test_spend_far_above_the_thread_s_own_median_trips() -> None:
    """A burst is noticed at the next call; a minute of a burst does not become usual."""

    async def main() -> None:
        provider = ScriptedProvider(lambda request: "word " * request.max_output_tokens)
        seen: list[BreakerTripped] = []
        limits = Limits(tokens=100_000, seconds=10_000)
        async with organism(provider, spender, breakers=ALL, limits=limits) as running:
            running.usage.subscribe(seen.append, BreakerTripped)
            thread = await running.open_thread("x")
            assert "times what a minute usually takes" in (await stopped(running, thread)).note
            assert trips(seen) == [("rate", "note", 1), ("rate", "pause", 2)]
            assert len(provider.requests) == 7, "the eighth call of the burst is not made"

    run(main)


def test_a_pause_outlasts_the_process_and_counts_begin_anew(tmp_path: Path) -> None:
    """After a restart the thread is paused as before, with its reason; let go on, it is counted from the beginning."""
    path = tmp_path / "journal.db"

    async def before() -> str:
        async with organism(ScriptedProvider(), asker, breakers=ALL, journal=SqliteJournal(path)) as running:
            thread = await running.open_thread("x")
            await stopped(running, thread)
            return thread

    async def after(thread: str) -> None:
        provider = ScriptedProvider()
        closed: list[ThreadClosed] = []
        async with organism(provider, asker, breakers=ALL, journal=SqliteJournal(path)) as running:
            running.usage.subscribe(closed.append, ThreadClosed)
            assert "the same call came 6 times" in (await stopped(running, thread)).note
            assert provider.requests == []
            await running.control.resume_thread(thread)
            await stopped(running, thread)
            assert len(provider.requests) == 5

    anyio.run(after, anyio.run(before))


def test_the_ledger_tells_of_it() -> None:
    """Explaining a thread's budget says when a breaker tripped, and what followed."""

    async def main() -> None:
        async with organism(ScriptedProvider(), asker, breakers=ALL) as running:
            thread = await running.open_thread("x")
            await stopped(running, thread)
            story = await running.control.queries.story(thread)
            said = [note.text for note in story.notes if "breaker" in note.text]
            assert len(said) == 2
            assert said[1].endswith("the thread was paused")

    run(main)
