"""A person is asked before a tool runs; the thread waits for the answer, and nothing is done or paid twice for it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from organism import Agent, Limits, Organism, Text, ThreadResult, agent, llm_agent
from organism.agents.context import Context
from organism.agents.tools.function_tool import function_tool
from organism.agents.tools.peer_tool import ask_tool
from organism.agents.tools.tool import AgentTool, ToolRules
from organism.errors import BudgetExhaustedError
from organism.llm.requests import ToolCall, ToolResult
from organism.messages import Message
from organism.stores.sqlite import SqliteJournal
from organism.testing import ScriptedAnswer, ScriptedProvider, run
from organism.threads.approvals import Approval, ApprovalNeededError, Decision, UnknownApprovalError
from organism.usage.events import ApprovalDecided, ApprovalRequested

ASK = ToolRules(approval="ask")
YES, NO = Decision(True), Decision(False, "not on a Sunday")


def calling(*names: str) -> ScriptedAnswer:
    return ScriptedAnswer(tool_calls=tuple(ToolCall(f"c{place}", name, "{}") for place, name in enumerate(names)))


class Counted:
    """A tool that counts its runs."""

    def __init__(self, name: str, rules: ToolRules | None = None) -> None:
        self.runs = 0

        def work() -> str:
            """Work."""
            self.runs += 1
            return f"{name} {self.runs}"

        self.tool: AgentTool = function_tool(work, name=name, rules=rules)


def organism(provider: ScriptedProvider, *agents: Agent, **options: Any) -> Organism:
    return Organism(agents, models={"m": "p/m"}, providers={"p": provider}, **options)


async def asked(organism: Organism, thread: str) -> Approval:
    """Wait until a person is asked, and return what."""
    with pytest.raises(ApprovalNeededError) as caught:
        await organism.wait(thread)
    (approval,) = caught.value.approvals
    return approval


def told(provider: ScriptedProvider) -> list[Any]:
    return [part.content for part in provider.requests[-1].messages[-1].parts if isinstance(part, ToolResult)]


@pytest.mark.parametrize(
    ("decision", "runs", "said"),
    [(YES, 1, "wipe 1"), (NO, 0, "a person has not allowed 'wipe': not on a Sunday")],
    ids=["allowed", "denied"],
)
def test_tool_waits_for_a_person(decision: Decision, runs: int, said: str) -> None:
    """The model is told the result, or that it was not allowed and why; its first answer is paid once."""
    wipe = Counted("wipe", ASK)
    provider = ScriptedProvider([calling("wipe"), "done"], repeat=False)
    events: list[Any] = []

    async def main() -> ThreadResult:
        async with organism(provider, llm_agent("a", tools=[wipe.tool])) as running:
            running.usage.subscribe(events.append)
            thread = await running.open_thread("go")
            approval = await asked(running, thread)
            assert (approval.what, approval.detail, approval.agent) == ("wipe", "{}", "a")
            assert running.thread(thread).status == "blocked"
            assert running.thread(thread).approvals == running.approvals.waiting() == (approval,)
            assert wipe.runs == 0
            await running.approvals.decide(approval.id, decision)
            return await running.wait(thread)

    result = run(main)

    assert wipe.runs == runs
    assert told(provider) == [said]
    assert result.outputs == (Text("done"),)
    assert len(provider.bill) == 2
    assert result.budget.spent.tokens == provider.billed.total
    kinds = [type(event) for event in events if isinstance(event, ApprovalRequested | ApprovalDecided)]
    assert kinds == [ApprovalRequested, ApprovalDecided]


def test_what_ran_beside_it_does_not_run_again() -> None:
    """People are asked first; a tool that is done is not done again because the message had to wait later."""
    look, wipe = Counted("look"), Counted("wipe", ASK)
    provider = ScriptedProvider([calling("look", "wipe"), calling("look", "wipe"), "done"], repeat=False)

    async def main() -> None:
        async with organism(provider, llm_agent("a", tools=[look.tool, wipe.tool])) as running:
            thread = await running.open_thread("go")
            first = await asked(running, thread)
            assert look.runs == 0
            await running.approvals.decide(first.id, YES)
            second = await asked(running, thread)
            assert second.id != first.id
            await running.approvals.decide(second.id, YES)
            await running.wait(thread)

    run(main)

    assert (look.runs, wipe.runs) == (2, 2)
    assert told(provider) == ["look 2", "wipe 2"]
    assert len(provider.bill) == 3


def test_finished_tools_are_not_run_again_after_a_refusal() -> None:
    """A message parked for budget finds the results of its tools when it goes on."""
    look = Counted("look")
    provider = ScriptedProvider([calling("look"), "done"], repeat=False)

    async def main() -> None:
        async with organism(provider, llm_agent("a", tools=[look.tool]), limits=Limits(calls=1)) as running:
            thread = await running.open_thread("go")
            with pytest.raises(BudgetExhaustedError, match="budget exhausted in"):
                await running.wait(thread)
            await running.set_limits(thread, Limits(calls=2))
            await running.wait(thread)

    run(main)

    assert look.runs == 1
    assert len(provider.bill) == 2


def test_waiting_for_a_person_takes_none_of_the_threads_time() -> None:
    """However long a person takes, neither the handler's deadline nor the thread's limit in seconds runs on."""
    wipe = Counted("wipe", ASK)
    provider = ScriptedProvider([calling("wipe"), "done"], repeat=False)

    async def main() -> ThreadResult:
        limits = Limits(elapsed_ns=60_000_000_000)
        async with organism(provider, llm_agent("a", tools=[wipe.tool]), limits=limits) as running:
            thread = await running.open_thread("go")
            approval = await asked(running, thread)
            await anyio.sleep(80_000)
            await running.approvals.decide(approval.id, YES)
            return await running.wait(thread)

    assert run(main).outputs == (Text("done"),)


def test_any_agent_can_ask_a_person() -> None:
    """A Python handler asks in its own words and gets the decision with its note."""

    @agent()
    async def careful(message: Text, ctx: Context) -> Text:
        decision = await ctx.approval("send the letter", message.text)
        return Text(f"{decision.allowed} {decision.note}")

    async def main() -> tuple[Message, ...]:
        async with organism(ScriptedProvider(), careful) as running:
            thread = await running.open_thread("Dear all")
            approval = await asked(running, thread)
            assert (approval.what, approval.detail) == ("send the letter", "Dear all")
            await running.approvals.decide(approval.id, NO)
            return (await running.wait(thread)).outputs

    assert run(main) == (Text("False not on a Sunday"),)


def test_whoever_asked_the_agent_waits_with_it() -> None:
    """An agent whose question waits for a person does not run into its deadline; one answer lets both go on."""
    wipe = Counted("wipe", ASK)
    script = [calling("ask_cook"), calling("wipe"), "wiped", "all done"]
    provider = ScriptedProvider(
        [ScriptedAnswer(tool_calls=(ToolCall("c", "ask_cook", '{"text": "clean"}'),)), *script[1:]], repeat=False
    )
    head = llm_agent("head", tools=[ask_tool("cook", rules=ToolRules(timeout_s=5))])

    async def main() -> ThreadResult:
        async with organism(provider, head, llm_agent("cook", tools=[wipe.tool])) as running:
            thread = await running.open_thread("go")
            approval = await asked(running, thread)
            assert approval.agent == "cook"
            await anyio.sleep(1000)
            await running.approvals.decide(approval.id, YES)
            return await running.wait(thread)

    assert run(main).outputs == (Text("all done"),)
    assert wipe.runs == 1
    assert len(provider.bill) == 4


def test_child_threads_approval_is_the_trees() -> None:
    """A parent that waits for a child's end is told of the approval the child waits for."""
    wipe = Counted("wipe", ASK)
    provider = ScriptedProvider([calling("wipe"), "done"], repeat=False)

    @agent(peers=["worker"])
    async def boss(message: Text, ctx: Context) -> Text:
        result = await ctx.spawn("worker", message)
        return Text(f"it said {result.outputs[0].text}")  # type: ignore[attr-defined]

    async def main() -> ThreadResult:
        async with organism(provider, boss, llm_agent("worker", tools=[wipe.tool])) as running:
            thread = await running.open_thread("go")
            approval = await asked(running, thread)
            assert (approval.root_thread_id, approval.thread_id != thread) == (thread, True)
            await running.approvals.decide(approval.id, YES)
            return await running.wait(thread)

    assert run(main).outputs == (Text("it said done"),)


def test_answers_to_nothing_are_refused() -> None:
    """An approval is answered once; a raised limit answers none; an ended thread asks nothing."""
    wipe = Counted("wipe", ASK)
    provider = ScriptedProvider([calling("wipe"), "done"], repeat=False)

    async def main() -> None:
        async with organism(provider, llm_agent("a", tools=[wipe.tool])) as running:
            thread = await running.open_thread("go")
            approval = await asked(running, thread)
            await running.set_limits(thread, Limits(tokens=1_000_000))
            assert running.approvals.waiting() == (approval,)
            with pytest.raises(UnknownApprovalError, match="nothing waits"):
                await running.approvals.decide("msg_1.0.abc", YES)
            await running.approvals.decide(approval.id, YES)
            with pytest.raises(UnknownApprovalError, match="nothing waits for an approval"):
                await running.approvals.decide(approval.id, NO)
            await running.wait(thread)
            assert running.approvals.waiting() == ()

    run(main)
    assert wipe.runs == 1


def test_answer_to_one_question_is_never_that_to_another() -> None:
    """A second run that asks something else in the same place asks a person anew."""
    wishes = iter(["copy it", "wipe it"])

    @agent()
    async def fickle(message: Text, ctx: Context) -> Text:
        wish = next(wishes, "wipe it")
        return Text(f"{wish}: {(await ctx.approval(wish)).allowed}")

    async def main() -> tuple[Message, ...]:
        async with organism(ScriptedProvider(), fickle) as running:
            thread = await running.open_thread("go")
            await running.approvals.decide((await asked(running, thread)).id, YES)
            second = await asked(running, thread)
            assert second.what == "wipe it"
            await running.approvals.decide(second.id, NO)
            return (await running.wait(thread)).outputs

    assert run(main) == (Text("wipe it: False"),)


def test_question_and_finished_work_outlive_the_process(tmp_path: Path) -> None:
    """After a restart the person is still asked, what is done is not done again, and what is paid not paid again."""
    look, wipe = Counted("look"), Counted("wipe", ASK)
    provider = ScriptedProvider([calling("look"), calling("wipe"), "done"], repeat=False)

    def made() -> Organism:
        return organism(
            provider, llm_agent("a", tools=[look.tool, wipe.tool]), journal=SqliteJournal(tmp_path / "journal.db")
        )

    async def before() -> str:
        async with made() as running:
            thread = await running.open_thread("go")
            await asked(running, thread)
            return thread

    async def after(thread: str) -> ThreadResult:
        async with made() as running:
            approval = await asked(running, thread)
            assert running.approvals.waiting() == (approval,)
            await running.approvals.decide(approval.id, YES)
            return await running.wait(thread)

    thread = anyio.run(before)
    result = anyio.run(after, thread)

    assert result.outputs == (Text("done"),)
    assert (look.runs, wipe.runs) == (1, 1)
    assert len(provider.bill) == 3
    assert result.budget.spent.tokens == provider.billed.total


def test_work_is_done_once_though_the_handler_fails_after_it() -> None:
    """What a handler wraps in ``once`` is done once for a message, whatever becomes of the run around it."""
    done: list[int] = []
    fails: Callable[[], bool] = iter([True, True, False]).__next__

    async def work() -> int:
        done.append(1)
        return len(done)

    @agent()
    async def clumsy(message: Text, ctx: Context) -> Text:
        count = await ctx.once("work", work, int)
        if fails():
            raise OSError("not yet")
        return Text(str(count))

    async def main() -> ThreadResult:
        async with organism(ScriptedProvider(), clumsy) as running:
            return await running.run("go")

    assert run(main).outputs == (Text("1"),)
    assert done == [1]
