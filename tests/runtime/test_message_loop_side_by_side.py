"""Questions asked side by side are handled side by side, also by one agent, and none is answered twice or lost."""

from typing import Any

import anyio
import pytest

from organism import BudgetExhaustedError, ConfigError, Context, Limits, Organism, Text, agent, llm_agent
from organism.agents.tools.peer_tool import ask_tool
from organism.errors import AskFailedError
from organism.llm.requests import ToolCall
from organism.testing import CrashingJournal, ScriptedAnswer, ScriptedProvider, VirtualClock, run
from organism.threads.lanes import Lane

handled: list[str] = []


class Crowd:
    """How many are at work, and how many were at most."""

    now = most = 0

    def __enter__(self) -> None:
        self.now += 1
        self.most = max(self.most, self.now)

    def __exit__(self, *_: object) -> None:
        self.now -= 1


@agent(peers=["worker", "other"], timeout_s=100_000)
async def lead(message: Text, ctx: Context) -> Text:
    """Ask in the way that the message says."""
    how, _, limit = message.text.partition(" ")
    items = [str(number) for number in range(6)]
    match how:
        case "gather":
            most = int(limit) if limit else None
            replies = await ctx.gather([("worker", Text(item)) for item in items], limit=most, timeout_s=1000)
        case "several":
            replies = await ctx.gather([(("worker", "other")[int(item) % 2], Text(item)) for item in items])
        case "each":
            replies = await ctx.for_each("worker", items, limit=int(limit or 8), timeout_s=1000)
        case _:
            replies = await ctx.for_each("worker", (Text(item) for item in items), timeout_s=1000)
    return Text(" ".join(reply.text if isinstance(reply, Text) else type(reply).__name__ for reply in replies))


def organism(crowd: Crowd, *more: Any, **options: Any) -> Organism:
    handled.clear()

    async def work(message: Text, ctx: Context) -> Text:
        handled.append(message.text)
        with crowd:
            await anyio.sleep(10)
        ctx.state[message.text] = 1
        ctx.state["count"] = len(ctx.state)
        return message

    worker, other = (agent(name=name)(work) for name in ("worker", "other"))
    return Organism([lead, *(more or (worker,)), other], clock=VirtualClock(), **options)


@pytest.mark.parametrize(
    ("how", "together", "seconds"),
    [
        ("gather", 6, 10),
        ("gather 1", 1, 60),
        ("gather 4", 4, 20),
        ("several", 6, 10),
        ("each", 6, 10),
        ("each 2", 2, 30),
        ("messages", 6, 10),
    ],
)
def test_one_agent_handles_questions_side_by_side_as_many_as_may_be(how: str, together: int, seconds: int) -> None:
    """Six questions of ten seconds take ten, not sixty, or as long as the limit makes them; replies keep order."""

    async def main() -> None:
        crowd = Crowd()
        async with organism(crowd) as it:
            result = await it.run(how)
            assert result.outputs == (Text("0 1 2 3 4 5"),)
            assert (crowd.most, anyio.current_time()) == (together, pytest.approx(seconds))

    run(main)


def test_a_model_s_tools_ask_one_agent_side_by_side() -> None:
    """What a model asks of one agent several times in one round takes as long as the slowest of it."""

    def answer(request: Any) -> ScriptedAnswer | str:
        if len(request.messages) > 1:
            return "done"
        return ScriptedAnswer(tool_calls=tuple(ToolCall(str(n), "ask_worker", f'{{"text": "{n}"}}') for n in range(4)))

    async def main() -> None:
        crowd = Crowd()

        @agent
        async def worker(message: Text, ctx: Context) -> Text:
            with crowd:
                await anyio.sleep(10)
            return message

        bot = llm_agent("bot", tools=[ask_tool("worker")])
        options: dict[str, Any] = {"models": {"m": "s/x"}, "providers": {"s": ScriptedProvider(answer)}}
        async with Organism([bot, worker], clock=VirtualClock(), **options) as it:
            assert (await it.run("go")).outcome == "completed"
        assert crowd.most == 4

    run(main)


def test_plain_questions_keep_their_order() -> None:
    """What is asked one by one is handled one by one, in order, though several tasks wait for it."""

    @agent(name="lead", peers=["worker"])
    async def asker(message: Text, ctx: Context) -> Text:
        async with anyio.create_task_group() as tasks:
            for item in "abc":
                tasks.start_soon(ctx.ask, "worker", Text(item))
        return Text("ok")

    async def main() -> None:
        crowd = Crowd()

        @agent
        async def worker(message: Text, ctx: Context) -> Text:
            with crowd:
                await anyio.sleep(1)
            return message

        async with Organism([asker, worker], clock=VirtualClock()) as it:
            assert (await it.run("go")).outcome == "completed"
        assert crowd.most == 1

    run(main)


@pytest.mark.parametrize("how", ["gather", "each 2", "each 4"])
@pytest.mark.parametrize("at", [5.0, 15.0, 25.0])
def test_after_a_crash_only_what_was_not_answered_is_asked_again(how: str, at: float) -> None:
    """What was answered when the process died is not handled again, and every reply is there in its place."""

    async def main() -> None:
        journal = CrashingJournal()
        async with organism(Crowd(), journal=journal) as it:
            await it.open_thread(how, thread_id="t")
            await anyio.sleep(at)
            kept = journal.kept
            journal.kept = type(kept)(capacity=1)  # what is written from here on is lost
            before = anyio.current_time()
        answered = {"gather": 6, "each 2": 2, "each 4": 4}[how] * int(at // 10) if before < 1000 else 0
        again = organism(Crowd(), journal=CrashingJournal(kept))
        async with again as it:
            result = it.pump.result("t") or await it.wait("t")
            assert result.outputs == (Text("0 1 2 3 4 5"),)
        assert not set(handled) & {str(number) for number in range(min(answered, 6))}
        assert len(handled) == len(set(handled))

    run(main)


def test_what_fails_has_its_error_in_its_place_and_the_rest_is_answered() -> None:
    """One item that cannot be handled costs its own reply."""

    @agent
    async def worker(message: Text, ctx: Context) -> Text:
        if message.text == "2":
            raise ValueError(message.text)
        return message

    async def main() -> None:
        async with organism(Crowd(), worker) as it:
            assert (await it.run("each")).outputs == (Text(f"0 1 {AskFailedError.__name__} 3 4 5"),)

    run(main)


def test_those_that_wait_for_budget_go_on_when_it_is_raised_and_none_is_paid_twice() -> None:
    """Calls of one for-each that a limit refuses wait, and after a raise each item has been paid for once."""
    provider = ScriptedProvider(lambda request: str(request.messages[-1].content)[0])

    async def main() -> None:
        options: dict[str, Any] = {"models": {"m": "s/x"}, "providers": {"s": provider}, "limits": Limits(calls=3)}
        async with organism(Crowd(), llm_agent("worker"), **options) as it:
            thread = await it.open_thread("each 2")
            with pytest.raises(BudgetExhaustedError, match="budget exhausted in"):
                await it.wait(thread)
            await it.set_limits(thread, Limits(calls=100))
            assert (await it.wait(thread)).outputs == (Text("0 1 2 3 4 5"),)
        assert len(provider.requests) == 6

    run(main)


def test_a_pause_of_the_agent_holds_all_up_and_its_resume_lets_all_go_on() -> None:
    """No lane of an agent is forgotten when an operator lets it go on."""

    async def main() -> None:
        async with organism(Crowd()) as it:
            await it.control.pause_agent("worker")
            thread = await it.open_thread("gather")
            await anyio.sleep(1000)
            assert handled == []
            assert it.thread(thread).queued["worker"] == 6
            await it.control.resume_agent("worker")
            assert (await it.wait(thread)).outputs == (Text("0 1 2 3 4 5"),)

    run(main)


def test_what_runs_beside_each_other_leave_in_the_state_is_kept_by_key() -> None:
    """Each has a copy of the agent's dictionary; keys of all are kept, and of one key what was written last."""
    home = Lane("a", stored=b'{"both":0,"gone":1,"old":1}')
    one, two = Lane("a", home=home), Lane("a", home=home)
    one.refresh()
    two.refresh()
    home.stored = one.merged(b'{"both":1,"old":1,"one":1}')
    assert home.stored == b'{"both":1,"old":1,"one":1}'
    assert two.merged(b'{"both":2,"gone":1,"old":1,"two":1}') == b'{"both":2,"old":1,"one":1,"two":1}'
    assert two.merged(two.stored) == home.stored


WRONG: dict[str, Any] = {
    "no limit": lambda ctx: ctx.for_each("worker", ["a"], limit=0),
    "a text": lambda ctx: ctx.for_each("worker", "abc"),
    "a message": lambda ctx: ctx.for_each("worker", Text("a")),
    "nothing": lambda ctx: ctx.for_each("worker", None),
    "half a limit": lambda ctx: ctx.gather([("worker", Text("a"))], limit=1.5),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_arguments_are_named_at_once(what: str) -> None:
    """A text is not taken for its letters, and a limit is a number from one up."""

    @agent(name="lead", peers=["worker"])
    async def wrong(message: Text, ctx: Context) -> Text:
        with pytest.raises(ConfigError, match=r"a whole number from 1 to 10,000|several messages or texts"):
            await WRONG[what](ctx)
        assert await ctx.for_each("worker", []) == []
        return Text("ok")

    async def main() -> None:
        async with organism(Crowd()) as it:
            worker = it.agents["worker"]
        async with Organism([wrong, worker], clock=VirtualClock()) as it:
            assert (await it.run("go")).outputs == (Text("ok"),)

    run(main)
