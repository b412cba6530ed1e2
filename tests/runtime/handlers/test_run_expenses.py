"""What a handler pays for beside model calls: charged once, held first, refused and taken up as model calls are."""

import math
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import anyio
import pytest

from organism import BudgetExhaustedError, BudgetPlan, Context, Limits, Organism, Text, agent
from organism.agents.agent import Agent
from organism.errors import AmountError, ConfigError, ContextClosedError
from organism.testing import ScriptedAnswer, ScriptedProvider, SequentialIds, VirtualClock, run
from organism.usage.events import BudgetExceeded, ThresholdCrossed, UsageEvent

CENT = 10_000_000


def make(*agents: Agent, usd: str = "1", **options: Any) -> Organism:
    """Make an organism whose threads have a dollar, and whose model costs nothing."""
    options.setdefault("limits", BudgetPlan(thread=Limits(tokens=10_000, usd=usd), final_reserve_percent=0))
    return Organism(
        agents,
        models={"main": "scripted/m"},
        providers={"scripted": ScriptedProvider(lambda _request: ScriptedAnswer(text="yes"))},
        clock=VirtualClock(),
        ids=SequentialIds(),
        provider_kinds={"scripted": "local"},
        wait_s=1,
        **options,
    )


def of(handle: Callable[[Text, Context], Awaitable[Any]]) -> Agent:
    return agent("worker")(handle)


def told(organism: Organism, *kinds: type) -> list[Any]:
    events: list[Any] = []
    organism.usage.subscribe(events.append, *kinds)  # type: ignore[call-overload]
    return events


def test_a_charge_counts_at_once_and_is_told() -> None:
    """What a handler has spent is on its thread's budget in the same step, with an event, sums and no call."""

    async def work(_message: Text, ctx: Context) -> Text:
        await ctx.charge(usd="0.02", what="ocr")
        ctx.charge(usd=0.03, what="ocr", tokens=7)
        return Text(f"{ctx.budget.spent.cost_nanousd // CENT} cents")

    async def main() -> None:
        organism = make(of(work))
        used = told(organism, UsageEvent)
        async with organism:
            result = await organism.run("go")
        assert (result.text, result.budget.spent) == ("5 cents", result.budget.spent)
        assert (result.budget.spent.cost_nanousd, result.budget.spent.tokens, result.budget.spent.calls) == (
            5 * CENT,
            7,
            0,
        )
        assert [(e.tool, e.operation, e.cost_nanousd, e.outcome, e.model) for e in used] == [
            ("ocr", "charge", 2 * CENT, "settled", ""),
            ("ocr", "charge", 3 * CENT, "settled", ""),
        ]
        sums = organism.usage.by_tool()["ocr"]
        assert (sums.tool_uses, sums.tool_nanousd, sums.cost_nanousd, sums.calls) == (2, 5 * CENT, 5 * CENT, 0)
        assert organism.usage.by_model() == {}

    run(main)


def test_what_has_happened_is_charged_beyond_the_limit() -> None:
    """Money that is spent is recorded whatever the limit says; its thresholds are told, and what follows is refused."""

    async def work(_message: Text, ctx: Context) -> Text:
        ctx.charge(usd="1.50", what="render")
        return Text((await ctx.llm.complete("more", max_output_tokens=20)).text)

    async def main() -> None:
        organism = make(of(work), on_exhausted="fail", limits=Limits(usd="1"))
        crossed = told(organism, ThresholdCrossed)
        organism_spent = None
        async with organism:
            thread = await organism.open_thread("go")
            result = await organism.wait(thread)
            organism_spent = result.budget.spent.cost_nanousd
        assert organism_spent == 150 * CENT
        assert [each.threshold for each in crossed] == [75, 90, 95]

    run(main)


async def charges(ctx: Context) -> None:
    ctx.charge(usd="0.10", what="search")


async def holds(ctx: Context) -> None:
    async with ctx.hold(usd="0.30", what="search") as hold:
        hold.settle(usd="0.10")


async def holds_in_parts(ctx: Context) -> None:
    async with ctx.hold(usd="0.30", what="search") as hold:
        hold.charge(usd="0.04")
        hold.charge(usd="0.06")


async def holds_in_silence(ctx: Context) -> None:
    async with ctx.hold(usd="0.10", what="search"):
        pass


async def twice(ctx: Context) -> None:
    ctx.charge(usd="0.05", what="search")
    ctx.charge(usd="0.05", what="search")


PAYS = pytest.mark.parametrize("pay", [charges, holds, holds_in_parts, holds_in_silence, twice])


@PAYS
def test_a_handler_that_is_run_again_pays_once(pay: Callable[[Context], Awaitable[None]]) -> None:
    """A run after a failure finds what was paid for; a model call that waits for budget finds it, too."""
    runs = []

    async def work(_message: Text, ctx: Context) -> Text:
        runs.append(True)
        await pay(ctx)
        if len(runs) == 1:
            raise OSError("reset")
        await ctx.llm.complete("more", max_output_tokens=20)
        return Text("done")

    async def main() -> None:
        plan = BudgetPlan(thread=Limits(tokens=10, usd="1"), final_reserve_percent=0)
        organism = make(of(work), limits=plan)
        async with organism:
            thread = await organism.open_thread("go")
            with pytest.raises(BudgetExhaustedError, match="budget exhausted in"):
                await organism.wait(thread)
            assert organism.budgets.budget(thread).spent.cost_nanousd == 10 * CENT
            await organism.set_limits(thread, Limits(tokens=100, usd="1"))
            result = await organism.wait(thread)
        assert (len(runs), result.budget.spent.cost_nanousd, result.budget.held.cost_nanousd) == (3, 10 * CENT, 0)

    run(main)


def test_a_block_that_was_paid_for_says_so() -> None:
    """A second run can see that a block is paid, and leave the work out; what it says there costs nothing."""
    seen = []

    async def work(_message: Text, ctx: Context) -> None:
        async with ctx.hold(usd="0.30", what="render") as hold:
            seen.append(hold.paid)
            hold.charge(usd="0.01")
            hold.settle(usd="0.20")
        async with ctx.hold(usd="0.30", what="render") as other:
            other.release()
        if len(seen) == 1:
            raise OSError("reset")

    async def main() -> None:
        async with make(of(work)) as organism:
            result = await organism.run("go")
        assert (seen, result.budget.spent.cost_nanousd) == ([False, True], 20 * CENT)

    run(main)


def test_a_block_that_fails_is_charged_whole_and_bought_again() -> None:
    """Nobody knows what was bought before an error: all that was held is charged, and the next run pays anew."""
    runs = []

    async def work(_message: Text, ctx: Context) -> None:
        async with ctx.hold(usd="0.30", what="render") as hold:
            runs.append(True)
            if len(runs) == 1:
                hold.charge(usd="0.01")
                raise OSError("reset")
            hold.settle(usd="0.20")

    async def main() -> None:
        organism = make(of(work))
        used = told(organism, UsageEvent)
        async with organism:
            result = await organism.run("go")
        assert result.budget.spent.cost_nanousd == 50 * CENT
        assert [event.outcome for event in used] == ["worst_case", "settled"]

    run(main)


def test_a_hold_that_does_not_fit_parks_its_message_until_the_limit_is_raised() -> None:
    """The thread is blocked and told as for a model call; raised, the message goes on and nothing is paid twice."""

    async def work(_message: Text, ctx: Context) -> Text:
        ctx.charge(usd="0.80", what="scan")
        async with ctx.hold(usd="0.30", what="render") as hold:
            hold.settle(usd="0.25")
        return Text("done")

    async def main() -> None:
        organism = make(of(work))
        refused = told(organism, BudgetExceeded)
        async with organism:
            thread = await organism.open_thread("go")
            with pytest.raises(BudgetExhaustedError) as error:
                await organism.wait(thread)
            assert error.value.shortfall.needed == 30 * CENT
            assert organism.thread(thread).blocked_by is not None
            await organism.set_limits(thread, Limits(usd="2"))
            result = await organism.wait(thread)
        assert (result.text, result.budget.spent.cost_nanousd) == ("done", 105 * CENT)
        assert [event.shortfall.dimension for event in refused] == ["usd"]

    run(main)


@pytest.mark.parametrize(("mode", "enforced"), [("audit", [False]), ("off", [])])
def test_other_modes_let_it_go_on(mode: Any, enforced: list[bool]) -> None:
    """Audit tells where it would refuse, off does not; both record all."""

    async def work(_message: Text, ctx: Context) -> Text:
        async with ctx.hold(usd="3", what="render"):
            return Text("done")

    async def main() -> None:
        organism = make(of(work), mode=mode)
        refused = told(organism, BudgetExceeded)
        async with organism:
            result = await organism.run("go")
        assert result.budget.spent.cost_nanousd == 300 * CENT
        assert [event.enforced for event in refused] == enforced

    run(main)


def test_an_organism_that_is_set_to_fail_raises_the_refusal() -> None:
    """With ``on_exhausted: fail`` the handler sees the refusal where it would have held."""
    seen = []

    async def work(_message: Text, ctx: Context) -> None:
        try:
            async with ctx.hold(usd="2", what="render"):
                seen.append("ran")
        except BudgetExhaustedError as error:
            seen.append(error.shortfall.dimension)

    async def main() -> None:
        async with make(of(work), on_exhausted="fail") as organism:
            await organism.run("go")
        assert seen == ["usd"]

    run(main)


def test_holds_side_by_side_wait_in_line() -> None:
    """Ten blocks of forty cents share a dollar: each waits for room, all run, none passes the limit."""
    most = []

    async def work(_message: Text, ctx: Context) -> None:
        async def one() -> None:
            async with ctx.hold(usd="0.40", what="render") as hold:
                most.append(ctx.budget.held.cost_nanousd + ctx.budget.spent.cost_nanousd)
                await anyio.sleep(0.01)
                hold.settle(usd="0.05")

        async with anyio.create_task_group() as tasks:
            for _ in range(10):
                tasks.start_soon(one)

    async def main() -> None:
        async with make(of(work)) as organism:
            result = await organism.run("go")
        assert result.budget.spent.cost_nanousd == 50 * CENT
        assert (len(most), max(most) <= 100 * CENT) == (10, True)

    run(main)


BAD = [
    -1,
    "-1",
    math.nan,
    math.inf,
    -math.inf,
    True,
    None,
    "much",
    "1e3",
    "",
    b"1",
    [],
    1j,
    10**30,
    "0.0000000001",
    1e-10,
]
BAD += [Decimal("NaN"), Decimal("1E-10"), Decimal(-1), 10_000_000]


@pytest.mark.parametrize("usd", BAD, ids=repr)
@pytest.mark.parametrize("how", ["charge", "hold", "settle", "part"])
def test_what_is_no_amount_is_refused_in_the_handlers_own_line(usd: Any, how: str) -> None:
    """Nonsense is refused where it is written, and charges nothing; a hold that is open stays as it was."""
    seen = []

    async def work(_message: Text, ctx: Context) -> None:
        async with ctx.hold(usd="0.5", what="x") as hold:
            use = {
                "charge": lambda: ctx.charge(usd=usd, what="x"),
                "hold": lambda: ctx.hold(usd=usd, what="x"),
                "settle": lambda: hold.settle(usd=usd),
                "part": lambda: hold.charge(usd=usd),
            }[how]
            if (how, usd) != ("settle", None):  # which is what was held
                with pytest.raises(AmountError, match=r"dollar|most that anything"):
                    use()
            hold.settle(usd="0.1")
        seen.append(ctx.budget.spent.cost_nanousd)

    async def main() -> None:
        async with make(of(work)) as organism:
            await organism.run("go")
        assert seen == [10 * CENT]

    run(main)


@pytest.mark.parametrize(
    "wrong",
    [
        {"what": ""},
        {"what": 7},
        {"what": "x" * 65},
        {"what": "\ud800"},
        {"tokens": -1},
        {"tokens": 0.5},
        {"tokens": True},
    ],
)
def test_other_arguments_are_checked_as_well(wrong: dict[str, Any]) -> None:
    """A name that no sum could be kept by, and tokens that are no count, are refused in the handler's own line."""

    async def work(_message: Text, ctx: Context) -> None:
        for spend in (ctx.charge, ctx.hold):
            with pytest.raises(ConfigError, match=r"what is paid for|tokens"):
                spend(**{"usd": 1, "what": "x", **wrong})

    async def main() -> None:
        async with make(of(work)) as organism:
            result = await organism.run("go")
        assert result.budget.spent.cost_nanousd == 0

    run(main)


def test_after_the_end_of_its_handler_nothing_can_be_spent() -> None:
    """A task that a handler leaves behind can neither charge nor settle: what it held is charged when the run ends."""
    left: list[Any] = []

    async def work(_message: Text, ctx: Context) -> None:
        hold = ctx.hold(usd="0.30", what="render")
        await hold.__aenter__()
        left.extend((ctx, hold))

    async def main() -> None:
        async with make(of(work)) as organism:
            result = await organism.run("go")
            ctx, hold = left
            for use in (
                lambda: ctx.charge(usd=1, what="x"),
                lambda: ctx.hold(usd=1, what="x"),
                lambda: hold.settle(usd="0.1"),
                lambda: hold.charge(usd="0.1"),
                hold.release,
            ):
                with pytest.raises(ContextClosedError, match="its context with it"):
                    use()
            await hold.__aexit__(None, None, None)
        assert (result.budget.spent.cost_nanousd, result.outcome) == (30 * CENT, "completed")

    run(main)


def test_a_terminated_thread_is_charged_what_its_blocks_hold() -> None:
    """Ended in the middle of a block, a thread has paid the block's worst case, once."""

    async def work(_message: Text, ctx: Context) -> None:
        async with ctx.hold(usd="0.30", what="render"):
            await anyio.sleep(1000)

    async def main() -> None:
        async with make(of(work)) as organism:
            thread = await organism.open_thread("go")
            await anyio.sleep(1)
            result = await organism.terminate(thread)
        assert result.budget.spent.cost_nanousd == 30 * CENT

    run(main)


def test_a_plain_function_charges_from_its_own_thread() -> None:
    """A handler that is no coroutine may charge as well."""

    def work(_message: Text, ctx: Context) -> None:
        ctx.charge(usd="0.07", what="scan")

    async def main() -> None:
        async with make(agent("worker")(work)) as organism:
            result = await organism.run("go")
        assert result.budget.spent.cost_nanousd == 7 * CENT

    run(main)


def test_scopes_of_the_agent_and_the_day_count_what_it_spends() -> None:
    """A charge and a hold count on every limit that a model call of the agent would, but no limit in calls."""

    async def work(_message: Text, ctx: Context) -> None:
        ctx.charge(usd="0.10", what="scan")
        async with ctx.hold(usd="0.20", what="render"):
            pass

    async def main() -> None:
        from organism.budgets import ScopedLimits

        plan = BudgetPlan(
            thread=Limits(calls=0),
            windows={"day": Limits(usd=5)},
            agents={"worker": ScopedLimits(Limits(usd="0.25"))},
            final_reserve_percent=0,
        )
        async with make(of(work), limits=plan) as organism:
            thread = await organism.open_thread("go")
            with pytest.raises(BudgetExhaustedError) as refused:
                await organism.wait(thread)
            spent = {state.account.partition("@")[0]: state.spent for state in organism.thread_budgets(thread)}
        assert refused.value.shortfall.account.startswith("agent:worker")
        assert {name: amounts.cost_nanousd for name, amounts in spent.items() if name != f"thread:{thread}"} == {
            "agent:worker": 10 * CENT,
            "organism": 10 * CENT,
        }

    run(main)
