"""The final reserve is used up by a call that was charged, and by nothing else."""

from collections.abc import Callable
from typing import Any

import anyio
import pytest

from organism.amounts import Amounts, Limits
from organism.budget.holds import GrantedHold, Spender
from organism.budget.policy import Ask
from organism.budget.registry import ThreadBudgetRegistry
from organism.budget.scopes import BudgetPlan
from organism.errors import BudgetExhaustedError, OrganismError, Refusal, RejectedError, UncertainError
from organism.ledger.entries import AnyEntry, CallRecord
from organism.ledger.ledger import Cost, Ledger
from organism.router.call import RouterSettings
from organism.router.limits.provider_settings import ProviderSettings
from organism.router.limits.rate_limit import RateLimits
from organism.testing import ManualClock, ScriptedAnswer, ScriptedProvider, run

MakeRouter = Callable[..., Any]
"""See ``conftest.py``."""

PLAN = BudgetPlan(thread=Limits(tokens=1000), final_reserve_percent=30)
SPENDER = Spender("t", "writer", "main")
ASK = Ask(input_tokens=50, output_cap=50, output_min=10)


def record(hold: str = "") -> CallRecord:
    return CallRecord(
        thread_id="t",
        root_thread_id="t",
        agent="writer",
        message_id=hold,
        call_id="c",
        attempt=1,
        provider="p",
        model="main",
        request_model="m",
        input_tokens=50,
        output_cap=50,
        price_source=None,
    )


def at_its_end() -> tuple[ThreadBudgetRegistry, list[AnyEntry]]:
    """Return the budgets of a thread whose agent has just been given the final warning, and their entries."""
    entries: list[AnyEntry] = []
    registry = ThreadBudgetRegistry(PLAN, Ledger(entries.append), ManualClock())
    registry.open_thread("t")
    registry.adjust("thread:t", Amounts(tokens=690), "spent before")
    shortfall = run(registry.reserve, SPENDER, ASK, record())
    assert registry.warn_refused(SPENDER, ASK, shortfall)[1]
    return registry, entries


def last_call(registry: ThreadBudgetRegistry) -> Any:
    """Ask for one more call; what comes back is held from the reserve, or is a refusal."""
    return run(registry.reserve, SPENDER, ASK, record())


def is_last(answer: GrantedHold | Refusal) -> bool:
    """Whether a call was admitted from the reserve."""
    return isinstance(answer, GrantedHold) and answer.final_reserve_of == "thread:t"


FATES: dict[str, tuple[Callable[[ThreadBudgetRegistry, Any], object], bool]] = {
    "released before it left": (lambda registry, held: registry.release(held.hold_id), False),
    "refused by the provider": (
        lambda registry, held: (registry.dispatch(held.hold_id), registry.release(held.hold_id)),
        False,
    ),
    "settled": (lambda registry, held: registry.settle(held, Amounts(60, 0, 1), Cost("settled")), True),
    "charged whole": (lambda registry, held: registry.settle(held, held.amounts, Cost("worst_case")), True),
    "estimated": (lambda registry, held: registry.settle(held, Amounts(10, 0, 1), Cost("estimated")), True),
    "under way": (lambda _registry, _held: None, True),
}


@pytest.mark.parametrize("fate", FATES)
@pytest.mark.parametrize("restart", [False, True], ids=["here", "after a restart"])
def test_only_what_was_charged_has_used_it(fate: str, *, restart: bool) -> None:
    """A call that cost nothing gives it back, also across a restart; one under way keeps it from any other."""
    registry, entries = at_its_end()
    held = last_call(registry)
    assert held.final_reserve_of == "thread:t"
    act, used = FATES[fate]
    act(registry, held)
    if restart:
        ledger = Ledger.replay(entries)
        registry = ThreadBudgetRegistry(PLAN, ledger, ManualClock())
        registry.restore_thread("t", parent=None, carve=None, open_ns=0)

    again = last_call(registry)

    assert is_last(again) is not used


@pytest.mark.parametrize("with_checkpoint", [False, True])
def test_old_call_gives_nothing_back_under_new_limits(*, with_checkpoint: bool) -> None:
    """Under another limit the reserve is another one: a call from before that is released does not free it twice."""
    registry, entries = at_its_end()
    old = last_call(registry)
    registry.set_limits("thread:t", Limits(tokens=10_000))
    registry.settle(last_call(registry), Amounts(9_500 - 690, 0, 1), Cost("settled"), "writer")
    new = last_call(registry)
    assert is_last(old)
    assert is_last(new)
    if with_checkpoint:
        registry.checkpoint(0)
        registry = ThreadBudgetRegistry(PLAN, Ledger.replay(entries[-1:]), ManualClock())
        registry.restore_thread("t", parent=None, carve=None, open_ns=0)
    registry.settle(new, Amounts(60, 0, 1), Cost("settled"))
    registry.release(old.hold_id)

    assert not is_last(last_call(registry))


REFUSED = ScriptedAnswer(error=RejectedError("p", "not now", status=429, again=True))
FOR_GOOD = ScriptedAnswer(error=RejectedError("p", "bad request", status=400))
BROKEN = ScriptedAnswer(error=UncertainError("p", "reset"))


@pytest.mark.parametrize(
    ("script", "calls"),
    [
        (["ok"], 1),
        ([REFUSED, "ok"], 1),
        ([FOR_GOOD, "ok"], 2),
        ([FOR_GOOD, FOR_GOOD, "ok"], 3),
        ([BROKEN, "ok"], 1),
        ([REFUSED, FOR_GOOD, REFUSED, "ok"], 2),
    ],
)
def test_refused_attempts_leave_the_last_call_to_be_made(
    make_router: MakeRouter, script: list[str | ScriptedAnswer], calls: int
) -> None:
    """Retries and further calls may take the reserve until one was charged; then every call is refused."""

    async def main() -> None:
        provider = ScriptedProvider(script, name="p")
        async with make_router(provider, limits=PLAN) as it:
            it.registry.adjust("thread:t", Amounts(tokens=690), "spent before")
            with pytest.raises(BudgetExhaustedError, match="budget exhausted in"):
                await it.ask(cap=50)
            for number in range(calls):
                try:
                    await it.ask(cap=50)
                except (RejectedError, UncertainError):
                    assert number < calls - 1 or BROKEN in script
            with pytest.raises(BudgetExhaustedError, match="budget exhausted in"):
                await it.ask(cap=50)
            assert it.registry.budget("t").held.tokens == 0

    run(main)


def test_last_call_that_never_got_its_turn_gives_it_back(make_router: MakeRouter) -> None:
    """A call that is cancelled, or out of time, while it waits for its provider's turn has used nothing."""

    async def main() -> None:
        provider = ScriptedProvider(["ok"], name="p")
        treatment = {"p": ProviderSettings(rates=RateLimits(requests=1))}
        settings = RouterSettings(providers=treatment, deadline_s=30)
        async with make_router(provider, limits=PLAN, settings=settings) as it:
            await it.ask(cap=50)
            it.registry.adjust("thread:t", Amounts(tokens=690 - it.registry.budget("t").spent.tokens), "spent before")
            with pytest.raises(BudgetExhaustedError, match="budget exhausted in"):
                await it.ask(cap=50)
            with anyio.move_on_after(5):
                await it.ask(cap=50)
            with pytest.raises(RejectedError, match="no turn"):
                await it.ask(cap=50)
            await anyio.sleep(60)
            await it.ask(cap=50)
            with pytest.raises(OrganismError, match="exhausted"):
                await it.ask(cap=50)

    run(main)
