"""Budgets of threads under concurrency, cancellation and changing limits."""

from collections.abc import Callable

import anyio
import pytest
from msgspec.structs import replace

from organism.amounts import Amounts, Limits
from organism.budget.holds import GrantedHold, Mode, Spender
from organism.budget.policy import Ask
from organism.budget.registry import ThreadBudgetRegistry
from organism.budget.scopes import BudgetPlan, LabelLimits, ScopedLimits, period
from organism.errors import ConfigError, LedgerStateError, Refusal, UnknownAccountError
from organism.ledger.entries import AnyEntry, CallRecord, Checkpoint, LimitsSet
from organism.ledger.ledger import Cost, Ledger
from organism.testing import ManualClock, VirtualClock, run

ME = Spender("t", "writer", "main")


def ask(tokens: int, cap: int = 1) -> Ask:
    """Ask for a number of tokens in all."""
    return Ask(input_tokens=tokens - cap, output_cap=cap)


def make(
    tokens: int | None = 100,
    *,
    mode: Mode = "enforce",
    wait_s: float = 30,
    plan: BudgetPlan | None = None,
    **limits: int,
) -> ThreadBudgetRegistry:
    plan = plan or BudgetPlan(thread=Limits(tokens=tokens, **limits), final_reserve_percent=0, warn_ahead=0)
    registry = ThreadBudgetRegistry(plan, Ledger(), ManualClock(), mode=mode, wait_s=wait_s)
    registry.open_thread("t")
    return registry


def take(registry: ThreadBudgetRegistry, tokens: int, spender: Spender = ME) -> GrantedHold | Refusal:
    """Reserve where nothing has to wait."""
    return run(registry.reserve, spender, ask(tokens))


def held(registry: ThreadBudgetRegistry, tokens: int, spender: Spender = ME) -> GrantedHold:
    call = take(registry, tokens, spender)
    assert isinstance(call, GrantedHold)
    return call


def spend(registry: ThreadBudgetRegistry, tokens: int, spender: Spender = ME) -> list[int]:
    """Spend tokens and return the thresholds that this crossed."""
    settlement = registry.settle(held(registry, tokens, spender), Amounts(tokens, 0, 1), Cost())
    return [warning.threshold for warning in settlement.warnings]


def test_has_budget_never_creates_one() -> None:
    """Looking does not open anything, and looking at nothing is an error that says so."""
    registry = make()

    assert registry.has_budget("t")
    assert not registry.has_budget("other")
    assert registry.statistics().threads == 1
    with pytest.raises(UnknownAccountError, match="thread:other"):
        registry.budget("other")


def test_cleanup_returns_the_final_budget_once() -> None:
    """The last word on a thread's spend is given once; then nothing of it is left."""
    registry = make()
    spend(registry, 30)

    final = registry.cleanup_thread("t").state

    assert (final.spent.tokens, final.spent.calls, final.held.tokens) == (30, 1, 0)
    assert registry.statistics().threads == 0
    with pytest.raises(UnknownAccountError, match="thread:t"):
        registry.cleanup_thread("t")


def test_cleanup_is_refused_while_a_call_is_open() -> None:
    """A budget is not closed under a call that may still cost something."""
    registry = make()
    held(registry, 30)

    with pytest.raises(LedgerStateError, match="open holds"):
        registry.cleanup_thread("t")


def test_thresholds_fire_once_ascending_also_when_jumped_over() -> None:
    """Each threshold is reported by the one settle that crosses it."""
    registry = make()

    assert spend(registry, 74) == []
    assert spend(registry, 1) == [75]
    assert spend(registry, 1) == []
    assert spend(registry, 24) == [90, 95]


def test_raised_limit_arms_the_thresholds_above_spend_again() -> None:
    """After 96 of 100 is raised to 110, the next warning comes at 90 %, and the old ones are not repeated."""
    registry = make()
    spend(registry, 96)

    assert registry.set_limits("thread:t", Limits(tokens=110)) == ()
    assert spend(registry, 3) == [90]


def test_lowered_limit_reports_what_it_crosses() -> None:
    """Lowering a limit below spend warns at once and lets nothing more through."""
    registry = make()
    spend(registry, 50)

    warnings = registry.set_limits("thread:t", Limits(tokens=55))

    assert [warning.threshold for warning in warnings] == [75, 90]
    assert isinstance(take(registry, 6), Refusal)


def test_limit_of_zero_refuses_all_and_warns_of_nothing() -> None:
    """Where nothing may be spent there is nothing to warn of."""
    registry = make(0)

    assert isinstance(take(registry, 1), Refusal)


def test_spend_to_the_last_token_is_admitted() -> None:
    """A limit of a hundred means a hundred."""
    registry = make()
    spend(registry, 60)

    assert isinstance(take(registry, 40), GrantedHold)


def test_audit_admits_and_says_what_it_would_refuse() -> None:
    """In mode audit work goes on, and the scope that would have refused is named once."""
    registry = make(mode="audit")
    spend(registry, 90)

    over = held(registry, 50).over

    assert over is not None
    assert over.available == 10
    assert registry.notes.refused(over, "t")
    assert not registry.notes.refused(over, "t")


def test_off_records_without_limits_and_warnings() -> None:
    """In mode off everything is counted and nothing is limited."""
    registry = make(mode="off")

    assert spend(registry, 500) == []
    assert registry.budget("t").spent.tokens == 500


def test_change_of_mode_takes_effect_with_the_next_call() -> None:
    """A switch from audit to enforce stops an overdrawn thread at its next call."""
    registry = make(mode="audit")
    spend(registry, 150)
    registry.mode = "enforce"

    assert isinstance(take(registry, 1), Refusal)


def test_wall_time_counts_only_while_not_parked() -> None:
    """A limit in seconds does not run while the thread waits for budget."""
    clock = ManualClock()
    plan = BudgetPlan(thread=Limits(elapsed_ns=10_000_000_000))
    registry = ThreadBudgetRegistry(plan, Ledger(), clock)
    registry.open_thread("t")
    clock.advance(6)
    registry.pause_time("t")
    clock.advance(100)
    registry.resume_time("t")
    clock.advance(3)

    assert held(registry, 1).time_left_ns == 1_000_000_000
    clock.advance(1)
    refusal = take(registry, 1)
    assert isinstance(refusal, Refusal)
    assert refusal.dimension == "seconds"


def test_shared_child_spends_its_parent_s_budget() -> None:
    """A child's cap is its own, but every token also counts on its ancestors."""
    registry = make()
    registry.open_thread("child", parent="t", limits=Limits(tokens=80))
    spend(registry, 50)

    child = Spender("child", "writer", "main")
    assert isinstance(take(registry, 60, child), Refusal)
    spend(registry, 40, child)
    assert registry.budget("t").spent.tokens == 90
    assert registry.cleanup_thread("child").state.spent.tokens == 40


def test_carved_child_gets_its_whole_limit_and_returns_the_rest() -> None:
    """A carved child's budget is guaranteed, and what it leaves goes back."""
    registry = make()
    assert registry.open_thread("child", parent="t", limits=Limits(tokens=70), child_budget="carved") is None
    assert isinstance(take(registry, 40), GrantedHold | Refusal)
    assert registry.budget("t").held.tokens >= 70

    spend(registry, 25, Spender("child", "writer", "main"))
    registry.cleanup_thread("child")

    assert registry.budget("t").spent.tokens == 25
    assert registry.budget("t").held.tokens == 0


def test_carve_that_does_not_fit_is_refused() -> None:
    """A guarantee that cannot be given is not given."""
    registry = make()

    refusal = registry.open_thread("child", parent="t", limits=Limits(tokens=101), child_budget="carved")

    assert isinstance(refusal, Refusal)
    assert not registry.has_budget("child")
    with pytest.raises(ConfigError, match="its own limit of tokens"):
        registry.open_thread("child", parent="t", limits=Limits(calls=1), child_budget="carved")


def test_agent_model_and_window_scopes_hold_together() -> None:
    """A call is held on every scope it falls into, and the tightest one refuses."""
    plan = BudgetPlan(
        thread=Limits(tokens=1000),
        windows={"day": Limits(tokens=90)},
        agents={"writer": ScopedLimits(Limits(tokens=50))},
        models={"main": ScopedLimits(Limits(tokens=70), per="day")},
    )
    registry = make(plan=plan)
    spend(registry, 40)

    accounts = {state.account: state.spent.tokens for state in registry.budgets("t")}
    assert accounts == {
        "thread:t": 40,
        "agent:writer@thread:t": 40,
        "model:main@day:2026-01-01": 40,
        "organism@day:2026-01-01": 40,
    }
    assert take(registry, 20).account == "agent:writer@thread:t"  # type: ignore[union-attr]
    other = Spender("t", "critic", "main")
    assert take(registry, 40, other).account == "model:main@day:2026-01-01"  # type: ignore[union-attr]
    third = Spender("t", "critic", "large")
    assert take(registry, 60, third).account == "organism@day:2026-01-01"  # type: ignore[union-attr]


def test_new_day_is_another_account() -> None:
    """A window begins afresh at midnight of its time zone, and a call belongs to the day of its hold."""
    from zoneinfo import ZoneInfo

    clock = ManualClock()
    plan = BudgetPlan(thread=Limits(), windows={"day": Limits(tokens=10)}, time_zone=ZoneInfo("Asia/Tokyo"))
    registry = ThreadBudgetRegistry(plan, Ledger(), clock, wait_s=0)
    registry.open_thread("t")
    call = held(registry, 10)
    assert call.accounts[1] == "organism@day:2026-01-01"
    clock.advance(15 * 3600)

    assert held(registry, 10).accounts[1] == "organism@day:2026-01-02"
    assert period("month", clock.now_ns(), ZoneInfo("UTC")) == "month:2026-01"


# -- concurrency, in virtual time --------------------------------------------------------------------------------------


def virtual(tokens: int, wait_s: float = 30) -> ThreadBudgetRegistry:
    plan = BudgetPlan(thread=Limits(tokens=tokens), final_reserve_percent=0)
    registry = ThreadBudgetRegistry(plan, Ledger(), VirtualClock(), wait_s=wait_s)
    registry.open_thread("t")
    return registry


@pytest.mark.parametrize("seed", range(2))
def test_ten_thousand_callers_for_five_thousand_places(
    seed: int, record_property: Callable[[str, object], None]
) -> None:
    """However many ask at once, exactly what fits is admitted, and never a token more at any step."""

    async def main() -> None:
        registry = virtual(5_000, wait_s=0)
        granted = most = 0

        async def caller() -> None:
            nonlocal granted, most
            call = await registry.reserve(ME, ask(1))
            granted += isinstance(call, GrantedHold)
            state = registry.budget("t")
            most = max(most, state.spent.tokens + state.held.tokens)
            assert state.spent.tokens + state.held.tokens <= 5_000

        async with anyio.create_task_group() as tasks:
            for _ in range(10_000):
                tasks.start_soon(caller)
        record_property("admitted too many", max(0, granted - 5_000))
        record_property("overspent tokens", max(0, most - 5_000))
        assert granted == 5_000

    run(main, seed=seed)


def test_refused_call_waits_for_its_siblings_and_then_fits() -> None:
    """Where the room is only held, a call waits for it instead of failing."""

    async def main() -> None:
        registry = virtual(100)
        first = await registry.reserve(ME, ask(80))
        assert isinstance(first, GrantedHold)

        async def finish() -> None:
            await anyio.sleep(5)
            registry.settle(first, Amounts(20), Cost())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(finish)
            started = anyio.current_time()
            second = await registry.reserve(ME, ask(60))
            assert isinstance(second, GrantedHold)
            assert anyio.current_time() - started == 5

    run(main)


def test_wait_ends_with_a_refusal() -> None:
    """Nobody waits for ever: after its time a call is refused with the numbers of that moment."""

    async def main() -> None:
        registry = virtual(100, wait_s=30)
        await registry.reserve(ME, ask(80))
        refusal = await registry.reserve(ME, ask(60))
        assert isinstance(refusal, Refusal)
        assert (refusal.held, anyio.current_time()) == (80, 30)
        assert registry.statistics().waiting == 0

    run(main)


@pytest.mark.parametrize("seed", range(20))
def test_small_call_does_not_overtake_a_large_one(seed: int) -> None:
    """First come, first served: a stream of small calls cannot starve a large one."""

    async def main() -> None:
        registry = virtual(100)
        blocker = await registry.reserve(ME, ask(50))
        assert isinstance(blocker, GrantedHold)
        order: list[str] = []

        async def caller(name: str, tokens: int) -> None:
            call = await registry.reserve(ME, ask(tokens))
            assert isinstance(call, GrantedHold)
            order.append(name)
            registry.settle(call, Amounts(0), Cost())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(caller, "large", 95)
            await anyio.sleep(1)
            tasks.start_soon(caller, "small", 10)  # would fit at once
            await anyio.sleep(1)
            assert order == []
            registry.settle(blocker, Amounts(0), Cost())
        assert order[0] == "large"

    run(main, seed=seed)


def storm(seed: int) -> Callable[[], object]:
    async def main() -> None:
        import random

        rnd = random.Random(seed)
        registry = virtual(500, wait_s=3)

        async def caller() -> None:
            with anyio.move_on_after(rnd.random() * 2):
                call = await registry.reserve(ME, ask(rnd.randint(1, 200)))
                if isinstance(call, GrantedHold):
                    try:
                        await anyio.sleep(rnd.random())
                    finally:
                        registry.release(call.hold_id)

        async with anyio.create_task_group() as tasks:
            for _ in range(60):
                tasks.start_soon(caller)
                await anyio.sleep(rnd.random() / 20)
        assert registry.budget("t").held == Amounts()
        assert registry.statistics() == type(registry.statistics())(threads=1, open_holds=0, waiting=0)

    return main


@pytest.mark.parametrize("seed", range(40))
def test_cancellation_anywhere_leaves_nothing_held(seed: int) -> None:
    """Callers that give up at any point leave no hold and nobody in line behind."""
    run(storm(seed), seed=seed)  # type: ignore[arg-type]


def test_raised_limit_serves_the_line_at_once() -> None:
    """Whoever waits in line goes on as soon as the limit is raised."""

    async def main() -> None:
        registry = virtual(100)
        await registry.reserve(ME, ask(80))
        async with anyio.create_task_group() as tasks:

            async def raise_limit() -> None:
                await anyio.sleep(2)
                registry.set_limits("thread:t", Limits(tokens=200))

            tasks.start_soon(raise_limit)
            assert isinstance(await registry.reserve(ME, ask(60)), GrantedHold)
            assert anyio.current_time() == 2

    run(main)


def test_long_ledger_gets_a_checkpoint_and_a_short_one_none() -> None:
    """A start reads no more of the ledger than it must, and what stands at the checkpoint is what was lived."""
    entries: list[AnyEntry] = []
    ledger = Ledger(entries.append)
    registry = ThreadBudgetRegistry(BudgetPlan(), ledger, ManualClock())
    registry.open_thread("t")
    spend(registry, 10)

    registry.checkpoint(after_entries=100)
    assert not any(isinstance(entry, Checkpoint) for entry in entries)
    registry.checkpoint(after_entries=2)
    registry.checkpoint(after_entries=2)

    assert [isinstance(entry, Checkpoint) for entry in entries].count(True) == 1
    assert Ledger.replay(entries[-1:]).balance("thread:t") == ledger.balance("thread:t")


def test_ledger_of_many_accounts_gets_its_checkpoints_in_proportion() -> None:
    """A checkpoint holds every account, so that a hundred thousand of them must not be written again and again."""
    entries: list[AnyEntry] = []
    registry = ThreadBudgetRegistry(BudgetPlan(), Ledger(entries.append), ManualClock())
    for number in range(100):
        registry.open_thread(f"t{number}")
        registry.checkpoint(after_entries=2)
    registry.open_thread("t")
    registry.checkpoint(after_entries=2)
    assert not any(isinstance(entry, Checkpoint) for entry in entries)
    spend(registry, 10)
    registry.checkpoint(after_entries=2)
    assert isinstance(entries[-1], Checkpoint)
    assert len(entries) <= 106


def test_what_is_kept_for_last_calls_is_no_room_that_came_back() -> None:
    """A refusal of a rolling window stands as long as its last call would not fit: else it is tried without end."""
    ledger = Ledger()
    plan = BudgetPlan(windows={"6h": Limits(tokens=100)})
    registry = ThreadBudgetRegistry(plan, ledger, ManualClock())
    ledger.open("organism@rolling:6h", Limits(tokens=100), 1)
    refused = Refusal("organism@rolling:6h", "tokens", 100, 0, 0, 60, final_reserve=50)
    assert not registry.accounts.room_came_back(refused)
    assert registry.accounts.room_came_back(replace(refused, final_reserve=40))


def test_a_correction_of_a_thread_counts_wherever_its_spend_does() -> None:
    """Money given back to a thread is given back to its tenant and to the day as well, so that their sums are right."""
    plan = BudgetPlan(
        thread=Limits(tokens=100), windows={"day": Limits(tokens=1000)}, final_reserve_percent=0,
        labels={"tenant": LabelLimits(each=ScopedLimits(Limits(tokens=500), "day"))},
    )  # fmt: skip
    registry = ThreadBudgetRegistry(plan, Ledger(), ManualClock())
    registry.open_thread("t", labels={"tenant": "a"})
    spend(registry, 40)

    accounts, _ = registry.adjust("thread:t", Amounts(-30), "the provider has paid it back")

    assert len(accounts) == 3
    assert [state.spent.tokens for state in registry.budgets("t")] == [10, 10, 10]
    registry.adjust(accounts[1], Amounts(5), "of one account alone")
    assert sorted(state.spent.tokens for state in registry.budgets("t")) == [10, 10, 15]


def test_a_thread_keeps_a_twentieth_for_its_last_call_unless_told_otherwise() -> None:
    """Five per cent: of a thousand tokens a call may take 950."""
    registry = make(plan=BudgetPlan(thread=Limits(tokens=1000)))

    assert isinstance(take(registry, 951), Refusal)
    assert isinstance(take(registry, 950), GrantedHold)


@pytest.mark.parametrize("taken_up", [False, True], ids=["same process", "after a restart"])
def test_limits_of_agents_within_a_thread_end_with_it(*, taken_up: bool) -> None:
    """They are shown as its own, and closed with it: nothing of an ended thread is left, whoever has begun it."""
    plan = BudgetPlan(
        thread=Limits(tokens=100), agents={"writer": ScopedLimits(Limits(tokens=50), "thread")}, final_reserve_percent=0
    )
    entries: list[AnyEntry] = []
    registry = ThreadBudgetRegistry(plan, Ledger(entries.append), ManualClock())
    registry.open_thread("t")
    spend(registry, 20)
    if taken_up:
        registry = ThreadBudgetRegistry(plan, Ledger.replay(entries), ManualClock())
        registry.restore_thread("t", parent=None, carve=None, open_ns=0)
        registry.accounts.restore_scoped()

    assert [(state.account, state.spent.tokens) for state in registry.budgets("t")] == [
        ("thread:t", 20),
        ("agent:writer@thread:t", 20),
    ]
    registry.cleanup_thread("t")
    assert registry.states() == ()


def test_a_limit_that_the_configuration_has_changed_is_noted_once() -> None:
    """With the first call after it, and not again with each: the ledger does not grow by what is known."""
    entries: list[AnyEntry] = []
    before, after = (
        BudgetPlan(thread=Limits(tokens=1000), windows={"day": Limits(tokens=tokens)}, warn_ahead=0)
        for tokens in (500, 600)
    )
    registry = ThreadBudgetRegistry(before, Ledger(entries.append), ManualClock())
    registry.open_thread("t")
    spend(registry, 10)
    registry.replan(after, (75, 90, 95))

    for _ in range(3):
        spend(registry, 10)

    noted = [entry for entry in entries if isinstance(entry, LimitsSet)]
    assert [(entry.limits, entry.configured) for entry in noted] == [(Limits(tokens=600), True)]


def test_the_lowest_threshold_is_warned_of() -> None:
    """One per cent is a threshold like others."""
    registry = ThreadBudgetRegistry(BudgetPlan(thread=Limits(tokens=100), warn_ahead=0), thresholds=(1, 50))
    registry.open_thread("t")

    assert spend(registry, 1) == [1]


def test_the_limit_nearest_to_its_end_is_told_of_a_thread_and_of_an_agent_of_it() -> None:
    """Who asks for a thread hears of every agent's limit in it; who asks for an agent, only of what limits that one."""
    plan = BudgetPlan(
        thread=Limits(tokens=100), agents={"writer": ScopedLimits(Limits(tokens=30), "thread")},
        final_reserve_percent=0, warn_ahead=0,
    )  # fmt: skip
    registry = make(plan=plan)
    spend(registry, 29)
    of = [registry.standing_warning("t", agent) for agent in (None, "writer", "reader")]

    assert [warning and warning.account for warning in of] == ["agent:writer@thread:t"] * 2 + [None]
    spend(registry, 66, Spender("t", "reader", "main"))
    near = registry.standing_warning("t", "reader")
    assert near is not None
    assert near.account == "thread:t"


def test_on_a_new_day_what_was_held_goes_over_before_anything_may_as_well_be_done() -> None:
    """A call that was given room yesterday and leaves today spends today's; only what it leaves is there for others."""
    clock = ManualClock()
    plan = BudgetPlan(thread=Limits(tokens=1000), windows={"day": Limits(tokens=100)}, final_reserve_percent=0)
    registry = ThreadBudgetRegistry(plan, Ledger(), clock)
    registry.open_thread("t")
    call = CallRecord(
        thread_id="t", root_thread_id="t", agent="writer", message_id="", call_id="c", attempt=1, provider="p",
        model="main", request_model="m", input_tokens=59, output_cap=1, price_source=None,
    )  # fmt: skip
    assert isinstance(run(registry.reserve, ME, ask(60), call), GrantedHold)

    clock.advance(86_400)

    assert registry.reserve_now(ME, ask(41)) is None
    assert registry.reserve_now(ME, ask(40)) is not None
