"""An agent asks for more budget, a person grants a window of it, and what is not spent goes back."""

from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from organism import Agent, Context, Limits, Organism, Text, agent, llm_agent
from organism.agents.llm_agent import LLMSettings
from organism.control.views import TimedGrant
from organism.errors import ConfigError
from organism.llm.requests import ToolCall, ToolResult
from organism.messages import Message
from organism.stores.sqlite import SqliteJournal
from organism.testing import CrashingJournal, ManualClock, ScriptedAnswer, ScriptedProvider, VirtualClock, run
from organism.threads.approvals import Approval, ApprovalNeededError, Decision, UnknownApprovalError
from organism.tools import request_budget_tool
from organism.usage.events import LimitChanged, OperatorAction


@agent
async def asking(message: Text, ctx: Context) -> Text:
    """Ask for more, and say what came of it; spend some where the message says how much."""
    granted = await ctx.request_budget(usd="2", tokens=500, reason="a long table")
    if message.text.isdigit():
        await ctx.llm.complete("x " * 10, max_output_tokens=int(message.text))
        await anyio.sleep(100)
    return Text(f"{granted.allowed} {granted.usd} {granted.tokens} {granted.seconds} {granted.note}")


def organism(provider: ScriptedProvider | None = None, *agents: Agent, **options: Any) -> Organism:
    options.setdefault("clock", VirtualClock())
    options.setdefault("limits", Limits(usd="1", tokens=1000))
    provider = provider or ScriptedProvider(lambda request: "word " * request.max_output_tokens)
    return Organism(
        agents or (asking,), models={"m": "p/m"}, providers={"p": provider}, provider_kinds={"p": "local"}, **options
    )


async def asked(organism: Organism, thread: str) -> Approval:
    with pytest.raises(ApprovalNeededError) as caught:
        await organism.wait(thread)
    (approval,) = caught.value.approvals
    return approval


def limits(organism: Organism, thread: str) -> tuple[int | None, int | None]:
    own = organism.budgets.budget(thread).limits
    return own.cost_nanousd, own.tokens


def granted_of(organism: Organism, thread: str) -> tuple[TimedGrant, ...]:
    return organism.control.queries.budget(thread).granted


@pytest.mark.parametrize(
    ("decision", "said", "raised"),
    [
        (Decision(True), "True 2 500 None ", (3_000_000_000, 1500)),
        (Decision(True, "go on"), "True 2 500 None go on", (3_000_000_000, 1500)),
        (Decision(True, tokens=10, usd="0.5"), "True 0.5 10 None ", (1_500_000_000, 1010)),
        (Decision(True, tokens=0, usd=0), "False 0 0 None ", (1_000_000_000, 1000)),
        (Decision(True, seconds=60), "True 2 500 60 ", (3_000_000_000, 1500)),
        (Decision(False, "too dear"), "False 0 0 None too dear", (1_000_000_000, 1000)),
        (Decision(False, tokens=9), "False 0 0 None ", (1_000_000_000, 1000)),
    ],
)
def test_a_person_decides_how_much(decision: Decision, said: str, raised: tuple[int, int]) -> None:
    """As asked, other amounts, or nothing; the limits are raised in the step that answers, once."""

    async def main() -> None:
        async with organism() as running:
            changed: list[LimitChanged] = []
            running.usage.subscribe(changed.append, LimitChanged)
            thread = await running.open_thread("hi")
            approval = await asked(running, thread)
            assert (approval.what, approval.detail) == ("more budget", "$2.00 and 500 tokens more: a long table")
            await running.approvals.decide(approval.id, decision)
            assert limits(running, thread) == raised
            with pytest.raises(UnknownApprovalError, match="nothing waits for an approval"):
                await running.approvals.decide(approval.id, decision)
            assert (await running.wait(thread)).text.strip() == said.strip()
            assert len(changed) == (raised != (1_000_000_000, 1000))

    run(main)


@pytest.mark.parametrize(
    "decision",
    [Decision(True, usd="much"), Decision(True, usd=-1), Decision(True, tokens=-1), Decision(True, seconds=0)],
)
def test_what_is_no_amount_is_refused_and_the_question_stays(decision: Decision) -> None:
    """A slip of the person decides nothing."""

    async def main() -> None:
        async with organism() as running:
            thread = await running.open_thread("hi")
            approval = await asked(running, thread)
            with pytest.raises(ConfigError, match=r"not an amount of dollars|a whole number from"):
                await running.approvals.decide(approval.id, decision)
            assert running.approvals.waiting() == (approval,)
            assert limits(running, thread) == (1_000_000_000, 1000)

    run(main)


LARGE: list[dict[str, Any]] = [
    {"tokens": 2**63 - 1},
    {"usd": "9223372036.854775807"},
    {"tokens": 1, "seconds": 1},
    {"tokens": 2**63 - 1, "usd": 9_000_000_000, "seconds": (2**63 - 1) // 10**9},
]


@pytest.mark.parametrize("asks", LARGE)
@pytest.mark.parametrize("allowed", [True, False])
def test_whatever_may_be_asked_for_may_be_granted_or_not(asks: dict[str, Any], allowed: bool) -> None:
    """No question waits that no answer fits: it goes as it was asked, and a limit is never more than 64 bits hold."""

    @agent
    async def greedy(message: Text, ctx: Context) -> Text:
        granted = await ctx.request_budget(**asks)
        return Text(str(granted.allowed))

    async def main() -> None:
        async with organism(None, greedy, journal=CrashingJournal()) as running:
            raised: list[Any] = []
            running.usage.subscribe(lambda event: raised.append(event.after), LimitChanged)
            thread = await running.open_thread("hi")
            await running.approvals.decide((await asked(running, thread)).id, Decision(allowed))
            assert (await running.wait(thread)).text == str(allowed)
            most = [max(each.tokens or 0, each.cost_nanousd or 0) for each in raised]
            assert [each <= 2**63 - 1 for each in most] == [True] * allowed

    run(main)


def test_what_is_not_spent_by_then_goes_back() -> None:
    """After the window the limit is what it was, or what is spent where that is more; until then people see when."""

    async def main() -> None:
        for spend, left in ((5, 1000), (1300, 1310)):
            async with organism() as running:
                thread = await running.open_thread(str(spend))
                question, opened_ns = await asked(running, thread), running.clock.now_ns()
                await running.approvals.decide(question.id, Decision(True, seconds=60))
                await anyio.sleep(59)
                assert limits(running, thread)[1] == 1500
                (until,) = granted_of(running, thread)
                assert (until.tokens, until.cost_nanousd, until.until_ns) == (
                    500,
                    2_000_000_000,
                    opened_ns + 60 * 10**9,
                )
                await anyio.sleep(2)
                assert limits(running, thread) == (1_000_000_000, left)
                assert granted_of(running, thread) == ()
                story = await running.control.queries.story(thread)
                granted, ended = [note.text for note in story.notes if "grant" in note.text]
                assert granted.startswith(
                    "python has granted asking $2.00 and 500 tokens more for 60 s, asked for $2.00"
                )
                assert ended.startswith("a granted budget has ended: $2.00 and ")
                await running.wait(thread)

    run(main)


def test_what_waits_for_budget_goes_on_with_the_grant() -> None:
    """A message that was refused goes on when another of its thread is granted more."""

    @agent(next="asking")
    async def first(message: Text, ctx: Context) -> Message:
        """Need more than there is."""
        await ctx.request_budget(tokens=2000, reason="x")
        answer = await ctx.llm.complete("x", max_output_tokens=1900)
        return Text(str(len(answer.text.split())))

    async def main() -> None:
        async with organism(None, first, asking, entry="first") as running:
            thread = await running.open_thread("hi")
            await running.approvals.decide((await asked(running, thread)).id, Decision(True))
            await running.approvals.decide((await asked(running, thread)).id, Decision(False))
            assert (await running.wait(thread)).outcome == "completed"

    run(main)


@agent(peers=("asking",))
async def parent(message: Text, ctx: Context) -> Message:
    """Let a child do it."""
    child = await ctx.spawn("asking", message, limits=Limits(tokens=300))
    return child.outputs[0]


def test_a_child_s_grant_raises_those_above_that_it_shares_with() -> None:
    """Else it would be of no use: a call holds on all of them."""

    async def main() -> None:
        async with organism(None, parent, asking) as running:
            thread = await running.open_thread("hi")
            approval = await asked(running, thread)
            await running.approvals.decide(approval.id, Decision(True, usd="0.5"))
            assert limits(running, thread) == (1_500_000_000, 1500)
            assert (await running.wait(thread)).text.startswith("True")

    run(main)


def test_grants_survive_a_crash_and_end_in_time(tmp_path: Path) -> None:
    """A question waits through a restart, is answered once, and a start goes on waiting for the end of a window."""
    clock = ManualClock()

    def restarted() -> Organism:
        return organism(journal=SqliteJournal(tmp_path / "journal.db"), clock=clock)

    async def ask() -> str:
        async with restarted() as running:
            thread = await running.open_thread("5")
            await asked(running, thread)
            return thread

    async def grant(thread: str) -> None:
        async with restarted() as running:
            await running.approvals.decide((await asked(running, thread)).id, Decision(True, seconds=60))
            assert limits(running, thread)[1] == 1500

    async def look(thread: str, after_s: int, tokens: int) -> None:
        clock.advance(after_s)
        async with restarted() as running:
            await anyio.lowlevel.checkpoint()
            assert limits(running, thread)[1] == tokens
            assert [grant.tokens for grant in granted_of(running, thread)] == [500] * (tokens > 1000)
            assert running.approvals.waiting() == ()

    thread = anyio.run(ask)
    anyio.run(grant, thread)
    anyio.run(look, thread, 30, 1500)
    anyio.run(look, thread, 40, 1000)
    anyio.run(look, thread, 40, 1000)


def test_a_model_asks_by_a_tool() -> None:
    """It is told what was granted, with what the person says; a second run of its handler asks nobody again."""

    async def main() -> None:
        call = ScriptedAnswer(tool_calls=(ToolCall("c", "request_budget", '{"usd": 2, "reason": "a table"}'),))
        provider = ScriptedProvider([call, "done"])
        settings = LLMSettings(tools=(request_budget_tool(),), max_output_tokens=20)
        async with organism(provider, llm_agent("m", settings=settings)) as running:
            audit: list[OperatorAction] = []
            running.usage.subscribe(audit.append, OperatorAction)
            thread = await running.open_thread("hi")
            approval = await asked(running, thread)
            await running.approvals.decide(approval.id, Decision(True, "but be quick", usd="0.25", seconds=600))
            assert (await running.wait(thread)).text == "done"
            parts = [part for turn in provider.requests[-1].messages for part in turn.parts]
            (told,) = [part.content for part in parts if isinstance(part, ToolResult)]
            assert told == "granted: $0.25 and 0 tokens more for 600 s. The person says: but be quick"
            assert len(provider.requests) == 2
            assert [row.action for row in audit if row.action == "approval.decide"] == ["approval.decide"]

    run(main)


@pytest.mark.parametrize(
    "asks",
    [
        {},
        {"usd": -1},
        {"usd": "much"},
        {"tokens": -5},
        {"tokens": 1.5},
        {"tokens": True},
        {"usd": 1, "seconds": -1},
        {"usd": 1, "seconds": 0},
        {"usd": 1, "seconds": 2**62},
        {"tokens": 2**63},
    ],
)
def test_what_is_no_request_is_the_handler_s_own_mistake(asks: dict[str, Any]) -> None:
    """It is told in its own line, and nobody is asked."""
    seen: list[str] = []

    @agent
    async def wrong(message: Text, ctx: Context) -> None:
        """Ask for what is no amount."""
        try:
            await ctx.request_budget(**asks, reason="x")
        except ConfigError as error:
            seen.append(str(error))

    async def main() -> None:
        async with organism(None, wrong) as running:
            await running.run("hi")

    run(main)
    assert len(seen) == 1


def test_other_approvals_grant_no_budget() -> None:
    """Amounts belong to a request for budget; elsewhere they are a mistake and decide nothing."""

    @agent
    async def careful(message: Text, ctx: Context) -> Text:
        """Ask before doing anything."""
        return Text(str((await ctx.approval("send")).allowed))

    async def main() -> None:
        async with organism(None, careful) as running:
            thread = await running.open_thread("hi")
            approval = await asked(running, thread)
            with pytest.raises(ConfigError, match="no budget"):
                await running.approvals.decide(approval.id, Decision(True, usd=1))
            await running.approvals.decide(approval.id, Decision(True))
            assert (await running.wait(thread)).text == "True"

    run(main)
