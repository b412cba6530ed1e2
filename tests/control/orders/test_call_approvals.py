"""Calls from outside that meet an approval are refused with the name of a question, whose answer is for all of them."""

from pathlib import Path
from typing import Any

import anyio
import pytest

from organism import BudgetPlan, Context, Limits, Organism, Text, agent
from organism.budget.scopes import ScopedLimits, ScopeRule
from organism.clock import Clock
from organism.errors import BudgetExhaustedError
from organism.llm.embeddings import EmbeddingRequest
from organism.llm.provider import Request
from organism.llm.requests import ChatMessage, CompletionRequest
from organism.stores.sqlite import SqliteJournal
from organism.testing import ScriptedProvider, VirtualClock, run
from organism.threads.approvals import Approval, ApprovalNeededError, Decision, UnknownApprovalError
from organism.usage.events import ApprovalDecided, ApprovalRequested

TEXT = CompletionRequest(model="m", messages=(ChatMessage("user", "hi there"),), max_output_tokens=16)
VECTORS = EmbeddingRequest(model="m", inputs=("hi there",))
RULE = ScopeRule(thresholds=(100,), actions=((50, "approve"),))
CALLS = Limits(calls=4)
FREE = Limits(tokens=1_000_000)
PLANS = {
    "thread": BudgetPlan(thread=CALLS, rules={"thread": RULE}, final_reserve_percent=0),
    "day": BudgetPlan(thread=FREE, windows={"day": CALLS}, rules={"day": RULE}),
    "rolling": BudgetPlan(thread=FREE, windows={"6h": CALLS}, rules={"6h": RULE}),
    "agent": BudgetPlan(thread=FREE, agents={"ci": ScopedLimits(CALLS, "day", RULE)}),
    "model": BudgetPlan(thread=FREE, models={"m": ScopedLimits(CALLS, "day", RULE)}),
}


@agent
async def caller(message: Text, ctx: Context) -> Text:
    """Make one call."""
    return Text((await ctx.llm.complete("hi", max_output_tokens=5)).text)


def organism(plan: BudgetPlan, clock: Clock | None = None, journal: SqliteJournal | None = None) -> Organism:
    return Organism(
        [caller],
        models={"m": "p/m"},
        providers={"p": ScriptedProvider()},
        limits=plan,
        clock=clock or VirtualClock(),
        journal=journal,
    )


async def call(running: Organism, thread_id: str = "tap", request: Request = TEXT) -> str:
    """Make a call and return the name of the question that it was refused with, or nothing."""
    standing = running.control.external_threads
    if not standing.is_open(thread_id):
        standing.open(thread_id, "ci")
    try:
        if isinstance(request, EmbeddingRequest):
            await standing.embed(thread_id, "ci", request)
        else:
            await standing.complete(thread_id, "ci", request)
    except BudgetExhaustedError as error:
        return error.approval_id or f"refused: {error.refusal}"
    return ""


async def asked(running: Organism) -> Approval:
    """Spend to the threshold and return what is asked there."""
    assert [await call(running), await call(running)] == ["", ""]
    name = await call(running)
    (approval,) = running.approvals.waiting()
    assert approval.id == name
    return approval


@pytest.mark.parametrize("request_", [TEXT, VECTORS], ids=["answer", "vectors"])
@pytest.mark.parametrize("scope", PLANS)
def test_a_yes_lets_all_calls_through_up_to_the_limit(scope: str, request_: Any) -> None:
    """A question is asked once however often the call is made, and is gone with its answer."""

    async def main() -> None:
        events: list[object] = []
        async with organism(PLANS[scope]) as running:
            running.usage.subscribe(events.append, ApprovalRequested, ApprovalDecided)
            approval = await asked(running)
            assert [await call(running, request=request_) for _ in range(3)] == [approval.id] * 3
            assert (approval.agent, approval.thread_id, approval.threshold) == ("ci", "tap", 50)
            assert "has used 2 calls of 4 calls" in approval.detail
            await running.approvals.decide(approval.id, Decision(True))
            assert running.approvals.waiting() == ()
            assert [await call(running), await call(running)] == ["", ""]
            assert "0 calls left" in await call(running)
        assert [type(event) for event in events] == [ApprovalRequested, ApprovalDecided]

    run(main)


def test_a_no_stands_until_the_limits_change() -> None:
    """Calls hear the person's own words, nobody is asked again, and a raise is a new beginning."""

    async def main() -> None:
        async with organism(PLANS["day"]) as running:
            approval = await asked(running)
            await running.approvals.decide(approval.id, Decision(False, "not today"))
            assert running.approvals.waiting() == ()
            assert "not let organism@day" in (said := await call(running))
            assert said.endswith("at 50 %: not today")
            with pytest.raises(UnknownApprovalError, match="nothing waits for an approval"):
                await running.approvals.decide(approval.id, Decision(True))
            await running.control.set_limits(approval.account, Limits(calls=5))
            assert await call(running) == ""

    run(main)


@pytest.mark.parametrize("scope", ["day", "rolling", "agent", "model"])
def test_a_question_is_over_with_its_window(scope: str) -> None:
    """When the window is over the call goes through unasked, and nobody is shown a question that means nothing."""

    async def main() -> None:
        clock = VirtualClock()
        async with organism(PLANS[scope], clock) as running:
            await asked(running)
            await anyio.sleep(86_400)
            assert running.approvals.waiting() == ()
            assert await call(running) == ""

    run(main)


def test_a_question_is_over_with_its_thread() -> None:
    """What a thread that has ended was to be allowed is not asked any more."""

    async def main() -> None:
        async with organism(PLANS["thread"]) as running:
            await asked(running)
            await running.terminate("tap")
            assert running.approvals.waiting() == ()

    run(main)


def test_one_word_is_for_calls_and_agents_alike() -> None:
    """An answer to a program's question lets agents go on that wait for the same, and the other way round."""

    async def main() -> None:
        async with organism(PLANS["day"]) as running:
            requested: list[ApprovalRequested] = []
            running.usage.subscribe(requested.append, ApprovalRequested)
            approval = await asked(running)
            thread = await running.open_thread("hi")
            with pytest.raises(ApprovalNeededError, match="waits for a person"):
                await running.wait(thread)
            assert [each.id for each in running.approvals.waiting()] == [each.approval_id for each in requested]
            await running.approvals.decide(approval.id, Decision(True))
            assert running.approvals.waiting() == ()
            await running.wait(thread)
            assert await call(running) == ""

    run(main)


@pytest.mark.parametrize("allowed", [True, False])
def test_questions_and_answers_outlive_the_process(tmp_path: Path, allowed: bool) -> None:
    """A restart shows the same question under the same name, and keeps a no."""

    async def main() -> None:
        clock = VirtualClock()

        def again() -> Organism:
            return organism(PLANS["thread"], clock, SqliteJournal(tmp_path / "journal.db"))

        async with again() as running:
            approval = await asked(running)
            await running.control.components.journal.commit()
        async with again() as running:
            assert running.approvals.waiting() == (approval,)
            await running.approvals.decide(approval.id, Decision(allowed))
        async with again() as running:
            assert running.approvals.waiting() == ()
            assert (await call(running) == "") is allowed

    run(main)
