"""What an operator sees of an account: what is left, and what happens on it as its limits come near."""

from functools import partial
from typing import Any

import anyio
import pytest

from organism import BudgetPlan, Context, Limits, Organism, Text, agent
from organism.budget.scopes import LabelLimits, PoolLimits, ScopedLimits, ScopeRule
from organism.control.views import AccountState
from organism.errors import BudgetExhaustedError
from organism.llm.requests import ChatMessage, CompletionRequest
from organism.testing import ScriptedProvider, VirtualClock, run
from organism.threads.approvals import ApprovalNeededError, Decision

FREE = Limits(tokens=1_000_000)
FOUR = Limits(calls=4)
RULE = ScopeRule(mode="enforce", thresholds=(50,), actions=((50, "warn"), (75, "approve"), (100, "refuse")))
SCOPED = ScopedLimits(FOUR, "day", RULE)
LABELS = LabelLimits(each=SCOPED, pools={"both": PoolLimits(frozenset({"acme"}), SCOPED)})
PLANS: dict[str, dict[str, Any]] = {
    "label:tenant=acme@day": {"labels": {"tenant": LABELS}},
    "pool:tenant=both@day": {"labels": {"tenant": LABELS}},
    "agent:caller@day": {"agents": {"caller": SCOPED}},
    "model:m@day": {"models": {"m": SCOPED}},
    "provider:p@day": {"providers": {"p": SCOPED}},
    "organism@day": {"windows": {"day": FOUR}, "rules": {"day": RULE}},
    "organism@rolling:6h": {"windows": {"6h": FOUR}, "rules": {"6h": RULE}},
}


@agent
async def caller(message: Text, ctx: Context) -> Text:
    """Make so many calls."""
    for number in range(int(message.text)):
        await ctx.llm.complete(f"call {number}", max_output_tokens=5)
    return Text("done")


async def question(running: Organism, thread: str) -> str:
    """Return the id of what a thread asks a person; empty once it has ended."""
    try:
        await running.wait(thread)
    except ApprovalNeededError as error:
        return error.approvals[0].id
    return ""


@pytest.mark.parametrize("account", PLANS)
def test_status_and_list_say_what_happens_on_each_scope(account: str) -> None:
    """Mode, thresholds, actions, how many calls are left after a warning ahead, and what a person has let pass."""

    async def main() -> None:
        running = Organism(
            [caller],
            models={"m": "p/m"},
            providers={"p": ScriptedProvider()},
            limits=BudgetPlan(thread=FREE, **PLANS[account]),
            clock=VirtualClock(),
        )

        def shown() -> AccountState:
            status = running.control.status()
            (state,) = (each for each in (*status.windows, *status.scoped) if each.account.startswith(account))
            assert state == running.control.queries.budget(state.account)
            assert state in running.control.queries.budgets()
            return state

        async with running:
            first = await running.open_thread("2", labels={"tenant": "acme"})
            await running.wait(first)
            state = shown()
            assert (state.mode, state.thresholds, state.actions) == ("enforce", (50,), RULE.actions)
            assert state.warning is not None
            assert (state.warning.threshold, state.passed) == (50, 0)
            second = await running.open_thread("3", labels={"tenant": "acme"})
            asked = await question(running, second)
            (summary,) = running.control.queries.threads().threads
            assert summary.approvals == (asked,)
            while asked:
                await running.approvals.decide(asked, Decision(True))
                asked = await question(running, second)
            assert shown().passed == 75

    run(main)


def test_warning_ahead_says_how_many_calls_fit() -> None:
    """A growing conversation is near its end long before its per cent says so, and the account shows it."""

    async def main() -> None:
        running = Organism(
            [caller],
            models={"m": "p/m"},
            providers={"p": ScriptedProvider()},
            limits=BudgetPlan(thread=Limits(calls=5), final_reserve_percent=0),
            thresholds=(90,),
            clock=VirtualClock(),
        )
        async with running:
            standing = running.control.external_threads
            standing.open("tap", "ci")
            for _ in range(3):
                request = CompletionRequest(model="m", messages=(ChatMessage("user", "hi"),), max_output_tokens=5)
                await standing.complete("tap", "ci", request)
            warning = running.control.queries.budget("tap").warning
            assert warning is not None
            assert (warning.threshold, warning.calls_left) == (90, 2)

    run(main)


@agent(peers=("child",))
async def parent(message: Text, ctx: Context) -> None:
    """Give each of two children a task of its own; one of them asks a person."""
    async with anyio.create_task_group() as tasks:
        for task in ("ask", "call"):
            tasks.start_soon(partial(ctx.spawn, "child", Text(task)))


@agent
async def child(message: Text, ctx: Context) -> Text:
    """Ask a person, or wait for budget that is not there."""
    if message.text == "ask":
        await ctx.approval("wipe", "the disk")
    return Text((await ctx.llm.complete("hi", max_output_tokens=5)).text)


def test_thread_waits_for_the_questions_below_it_and_not_beside_it() -> None:
    """The id that answers it stands at the thread that asks and at those above, and not at its siblings."""

    async def main() -> None:
        running = Organism(
            [parent, child],
            models={"m": "p/m"},
            providers={"p": ScriptedProvider()},
            limits=BudgetPlan(thread=Limits(calls=0)),
            clock=VirtualClock(),
        )
        async with running:
            top = await running.open_thread("go", to="parent")
            with pytest.raises(
                (ApprovalNeededError, BudgetExhaustedError), match=r"waits for a person|budget exhausted in"
            ):  # of two reasons one is told
                await running.wait(top)
            (asked,) = running.approvals.waiting()
            detail = await running.control.queries.thread(top)
            waits = {each.thread_id: each.approvals for each in (detail.thread, *detail.tree)}
            page = running.control.queries.threads().threads
        assert len(waits) == 3
        assert {name for name, ids in waits.items() if ids == (asked.id,)} == {top, asked.thread_id}
        assert {each.thread_id: each.approvals for each in page} == waits

    run(main)
