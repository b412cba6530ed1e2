"""A carved child's limits are raised and lowered with what its parent holds for it, so that none is passed by it."""

from contextlib import suppress
from typing import Any

import anyio
import pytest

from organism import Agent, Context, Limits, Organism, Text, agent
from organism.errors import ConfigError
from organism.journal import JournalBrokenError
from organism.testing import CrashingJournal, ScriptedProvider, VirtualClock, run
from organism.threads.approvals import ApprovalNeededError, Decision
from organism.usage.events import LimitChanged
from organism.whatif.changes import Changes


@agent(peers=["child"], timeout_s=100_000)
async def lead(message: Text, ctx: Context) -> Text:
    """Have a child do the work within 400 tokens that are carved out of the thread's."""
    child = await ctx.spawn("child", message, limits=Limits(tokens=400), budget="carved")
    return Text(child.text)


@agent(timeout_s=100_000)
async def child(message: Text, ctx: Context) -> Text:
    """Spend what the message says, after a question; ask for more first where it says so."""
    if message.text.startswith("more "):
        await ctx.request_budget(tokens=2000, reason="it is long")
    else:
        await ctx.approval("go on?")
    for tokens in message.text.removeprefix("more ").split():
        await ctx.llm.complete("x", max_output_tokens=int(tokens))
    if message.text.endswith(" "):
        await anyio.sleep(1000)
    return Text("done")


@agent(peers=["lead"], timeout_s=100_000)
async def outer(message: Text, ctx: Context) -> Text:
    """Have a child with 500 tokens have its own child do the work."""
    result = await ctx.spawn("lead", message, limits=Limits(tokens=500), budget="carved")
    return Text(result.text)


def organism(*agents: Agent, **options: Any) -> Organism:
    options.setdefault("clock", VirtualClock())
    options.setdefault("limits", Limits(tokens=1000))
    return Organism(
        agents or (lead, child),
        models={"m": "p/m"},
        providers={"p": ScriptedProvider(lambda request: "word " * request.max_output_tokens)},
        provider_kinds={"p": "local"},
        **options,
    )


async def question(running: Organism, thread: str) -> tuple[str, str]:
    """Return the child that asks something, and the question's id."""
    with pytest.raises(ApprovalNeededError) as caught:
        await running.wait(thread)
    (approval,) = caught.value.approvals
    return approval.thread_id, approval.id


def sums(running: Organism, thread: str) -> tuple[int | None, int, int]:
    state = running.budgets.budget(thread)
    return state.limits.tokens, state.spent.tokens, state.held.tokens


@pytest.mark.parametrize(("tokens", "held"), [(1000, 1000), (700, 700), (400, 400), (100, 100), (0, 0)])
def test_what_a_parent_holds_is_what_its_child_may_spend(tokens: int, held: int) -> None:
    """An operator's raise takes of the parent's room, and a lower limit gives it back, at once."""

    async def main() -> None:
        async with organism() as running:
            thread = await running.open_thread("10")
            below, _ = await question(running, thread)
            await running.set_limits(below, Limits(tokens=tokens))
            assert sums(running, thread) == (1000, 0, held)
            assert sums(running, below) == (tokens, 0, 0)

    run(main)


def test_a_raise_beyond_the_parents_room_raises_the_parent_by_what_it_lacks() -> None:
    """The one command that an operator pastes is enough, and what was done is told of both."""

    async def main() -> None:
        async with organism() as running:
            changed: list[LimitChanged] = []
            running.usage.subscribe(changed.append, LimitChanged)
            thread = await running.open_thread("300 300 300 300")
            below, approval = await question(running, thread)
            await running.set_limits(below, Limits(tokens=1300))
            assert (sums(running, thread), sums(running, below)) == ((1300, 0, 1300), (1300, 0, 0))
            assert [each.account for each in changed] == [f"thread:{thread}", f"thread:{below}"]
            await running.approvals.decide(approval, Decision(True))
            assert 1200 < (await running.wait(thread)).budget.spent.tokens <= 1300

    run(main)


def test_a_carved_child_keeps_a_limit_of_all_that_its_parent_limits() -> None:
    """Without one nobody could say what to hold for it: nothing is changed."""

    async def main() -> None:
        async with organism() as running:
            thread = await running.open_thread("10")
            below, _ = await question(running, thread)
            with pytest.raises(ConfigError, match=r"is carved out of thread:.*, which has a limit of tokens"):
                await running.set_limits(below, Limits(calls=5))
            assert (sums(running, thread), sums(running, below)) == ((1000, 0, 400), (400, 0, 0))

    run(main)


def test_nested_children_are_raised_through_all_above() -> None:
    """What a grandchild lacks comes out of its parent, and what that lacks out of the root."""

    async def main() -> None:
        async with organism(outer, lead, child) as running:
            thread = await running.open_thread("10", to="outer")
            below, _ = await question(running, thread)
            (middle,) = (t.parent_thread_id for t in running.control.queries.threads().threads if t.thread_id == below)
            assert middle is not None
            await running.set_limits(below, Limits(tokens=2000))
            assert sums(running, below) == (2000, 0, 0)
            assert sums(running, middle) == (2000, 0, 2000)
            assert sums(running, thread) == (2000, 0, 2000)

    run(main)


def test_a_limit_below_what_is_spent_keeps_what_is_spent_held() -> None:
    """What a child has spent is charged above when it ends: until then nobody else may have it."""

    async def main() -> None:
        async with organism() as running:
            thread = await running.open_thread("300 ")
            below, approval = await question(running, thread)
            await running.approvals.decide(approval, Decision(True))
            await anyio.sleep(1)
            _, spent, _ = sums(running, below)
            assert spent > 300
            await running.set_limits(below, Limits(tokens=100))
            assert sums(running, thread) == (1000, 0, spent)
            assert (await running.wait(thread)).budget.spent.tokens == spent

    run(main)


@pytest.mark.parametrize("seconds", [None, 50])
def test_more_for_a_carved_child_is_more_for_all_above(seconds: int | None) -> None:
    """A person grants a child's agent 2,000 tokens: no limit is passed when the child ends, and the rest goes back."""

    async def main() -> None:
        async with organism() as running:
            thread = await running.open_thread("more 300 300 300 200 ")
            below, approval = await question(running, thread)
            await running.approvals.decide(approval, Decision(True, seconds=seconds))
            await anyio.sleep(1)
            (limit, spent, held), (own_limit, own_spent, _) = sums(running, thread), sums(running, below)
            assert (limit, spent, held, own_limit) == (3000, 0, 2400, 2400)
            assert 1100 < own_spent < 1300
            await anyio.sleep(100)
            if seconds is not None:
                assert sums(running, below)[0] == own_spent
                assert sums(running, thread) == (1000 + own_spent - 1000, 0, own_spent)
            closed = (await running.wait(thread)).budget
            assert closed.spent.tokens == own_spent <= (closed.limits.tokens or 0)

    run(main)


def test_a_raised_child_is_taken_up_with_what_is_held_for_it() -> None:
    """Whichever group is the last that a crash leaves, what the parent holds is what the child's limits say."""

    async def raise_and_die(groups: int | None) -> CrashingJournal:
        with anyio.CancelScope() as process, suppress(JournalBrokenError):
            journal = CrashingJournal(groups=groups, on_crash=process.cancel)
            async with organism(journal=journal) as running:
                thread = await running.open_thread("10")
                below, _ = await question(running, thread)
                await running.set_limits(below, Limits(tokens=900))
        return journal

    async def found(journal: CrashingJournal) -> set[tuple[int | None, int]]:
        async with organism(journal=CrashingJournal(journal.kept)) as running:
            threads = running.control.queries.threads().threads
            below = [(each.thread_id, each.parent_thread_id) for each in threads if each.parent_thread_id]
            return {(sums(running, child)[0], sums(running, parent)[2]) for child, parent in below}

    groups = run(raise_and_die, None).written
    ends = [run(found, run(raise_and_die, most)) for most in range(1, groups + 1)]
    assert set().union(*ends) == {(400, 400), (900, 900)}


@pytest.mark.parametrize("tokens", [250, 900, 1300])
def test_a_replay_holds_what_was_held(tokens: int) -> None:
    """What an operator has changed for a child is changed when its thread is replayed: each account ends alike."""

    async def main() -> None:
        async with organism() as running:
            thread = await running.open_thread("200")
            below, approval = await question(running, thread)
            await running.set_limits(below, Limits(tokens=tokens))
            await running.approvals.decide(approval, Decision(True))
            spent = (await running.wait(thread)).budget.spent
            again = await running.control.queries.replay(thread, Changes())
            assert (again.spent, again.total.replayed, again.stop) == (spent, again.total.recorded, None)

    run(main)
