"""An account that a call would open can be looked at, given limits and corrected before the first call."""

from typing import Any

import anyio
import pytest

from organism import BudgetPlan, Context, Limits, Organism, Text, agent
from organism.amounts import Amounts, BudgetState
from organism.budget.scopes import LabelLimits, PoolLimits, ScopedLimits
from organism.control.accounts import LimitsChange
from organism.errors import ConfigError, UnknownAccountError
from organism.testing import ScriptedProvider, VirtualClock, run

FREE, TEN = Limits(tokens=1_000_000), Limits(calls=10)
DAY = "day:2026-01-01"
PER_DAY = ScopedLimits(TEN, "day")
LABELS = LabelLimits(each=PER_DAY, pools={"both": PoolLimits(frozenset({"a/b"}), ScopedLimits(TEN, "lifetime"))})
PLANS: dict[str, dict[str, Any]] = {
    f"label:tenant=a%2Fb@{DAY}": {"labels": {"tenant": LABELS}},
    "pool:tenant=both@lifetime": {"labels": {"tenant": LABELS}},
    f"agent:caller@{DAY}": {"agents": {"caller": PER_DAY}},
    "agent:caller@thread:t": {"agents": {"caller": ScopedLimits(TEN)}},
    "model:m@rolling:6h": {"models": {"m": ScopedLimits(TEN, "6h")}},
    f"provider:p@{DAY}": {"providers": {"p": PER_DAY}},
    f"organism@{DAY}": {"windows": {"day": TEN}},
    "organism@rolling:6h": {"windows": {"6h": TEN}},
}
CALLS = Amounts(tokens=0, cost_nanousd=0, calls=4)


@agent
async def caller(message: Text, ctx: Context) -> Text | None:
    """Wait for a person, or make a call."""
    if message.text == "wait":
        await ctx.approval("go on?")
    await ctx.llm.complete("call", max_output_tokens=5)
    return Text("done")


def organism(plan: dict[str, Any]) -> Organism:
    return Organism(
        [caller],
        models={"m": "p/m"},
        providers={"p": ScriptedProvider()},
        limits=BudgetPlan(thread=FREE, **plan),
        clock=VirtualClock(),
    )


@pytest.mark.parametrize("account", PLANS)
def test_an_account_that_no_call_has_used_can_be_corrected_and_its_limits_moved(account: str) -> None:
    """A refund or an invoice for a tenant of today comes before its first call; that counts beside it."""

    async def main() -> BudgetState | None:
        async with organism(PLANS[account]) as running:
            waits = await running.open_thread("wait", thread_id="t", labels={"tenant": "a/b"})
            await anyio.sleep(1)
            assert running.control.queries.budget(account).spent.calls == 0
            corrected = await running.control.adjust_budget(account, CALLS, "invoice 7")
            assert [(state.account, state.spent.calls) for state in corrected.budgets] == [(account, 4)]
            await running.control.move_limits(account, LimitsChange(calls=5))
            await running.terminate(waits)
            if "@thread:" not in account:
                await running.run("go", labels={"tenant": "a/b"})
            states = {state.account: state for state in running.control.queries.budgets()}
            return states.get(account)

    state = run(main)
    assert (state is None) == ("@thread:" in account), "it ends with its thread"
    if state is not None:
        assert (state.spent.calls, state.limits.calls) == (5, 15)


def test_names_that_no_call_would_use_are_refused_with_the_one_that_is_meant() -> None:
    """Another day, no day, a thread that is not open, a label without limits: nothing is opened for them."""

    async def main() -> None:
        plan = {"labels": {"tenant": LABELS}, "agents": {"caller": ScopedLimits(TEN)}, "windows": {"day": TEN}}
        async with organism(plan) as running:
            for name, meant in (
                ("label:tenant=acme", f"label:tenant=acme@{DAY}"),
                (f"label:tenant=a/b@{DAY}", f"label:tenant=a%2Fb@{DAY}"),
                ("organism@day:2025-12-31", f"organism@{DAY}"),
                ("agent:caller@thread:gone", ""),
                ("agent:caller", ""),
                (f"label:team=red@{DAY}", ""),
                ("thread:gone", ""),
            ):
                with pytest.raises(UnknownAccountError) as refused:
                    await running.control.adjust_budget(name, CALLS, "invoice 7")
                assert refused.value.present == meant
                assert meant in str(refused.value)
            with pytest.raises(ConfigError, match="has spent 0 calls"):
                await running.control.adjust_budget(f"label:tenant=x@{DAY}", Amounts(0, 0, -1), "refund")
            assert {state.account for state in running.control.queries.budgets()} == {f"organism@{DAY}"}

    run(main)
