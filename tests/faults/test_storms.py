"""Many at once: fan-out, cancellations, settlements and changes of limits, under a scheduler that shuffles."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from typing import Any

import anyio
import pytest

from organism.amounts import Amounts, Limits
from organism.budget.holds import GrantedHold, Mode, Spender
from organism.budget.policy import Ask
from organism.budget.registry import ThreadBudgetRegistry
from organism.budget.scopes import BudgetPlan
from organism.errors import BudgetExhaustedError, Refusal
from organism.ledger.entries import AnyEntry, ThresholdFired
from organism.ledger.ledger import Cost, Ledger
from organism.llm.requests import ChatMessage, CompletionRequest
from organism.router.call import Call, RouterSettings
from organism.router.router import LLMRouter
from organism.router.router_config import RouterSpec
from organism.stores.memory import MemoryJournal
from organism.testing import ScriptedProvider, SequentialIds, VirtualClock, run
from organism.usage.outbox import Outbox

Record = Callable[[str, object], None]
BRANCHES, DEPTH = 64, 4


def opened(
    tokens: int, entries: list[AnyEntry] | None = None, *, mode: Mode = "enforce", wait_s: float = 0
) -> ThreadBudgetRegistry:
    """Return a registry with one thread."""
    plan = BudgetPlan(thread=Limits(tokens=tokens), final_reserve_percent=0, warn_ahead=0)
    ledger = Ledger(None if entries is None else entries.append)
    registry = ThreadBudgetRegistry(plan, ledger, VirtualClock(), mode=mode, wait_s=wait_s)
    registry.open_thread("t")
    return registry


def ask(tokens: int) -> Ask:
    return Ask(input_tokens=tokens - 1, output_cap=1)


@pytest.mark.parametrize("seed", range(3))
def test_fan_out_spends_no_more_than_its_root_has(seed: int, record_property: Record) -> None:
    """Of 256 threads under one root, four deep, exactly as many calls are made as fit, and every caller is answered."""
    fits, most, answers = 100, 0, Counter[str]()

    async def main() -> None:
        registry = opened(fits * 10)
        leaves = []
        for branch in range(BRANCHES):
            parent = "t"
            for depth in range(DEPTH):
                child = f"t{branch}_{depth}"
                registry.open_thread(child, parent=parent)
                parent = child
                leaves.append(child)

        async def call(thread: str) -> None:
            nonlocal most
            held = await registry.reserve(Spender(thread, "a", "m"), ask(10))
            state = registry.budget("t")
            most = max(most, state.spent.tokens + state.held.tokens)
            if isinstance(held, GrantedHold):
                await anyio.sleep(random.Random(thread).random())
                registry.settle(held, Amounts(10, 0, 1), Cost())
            answers["made" if isinstance(held, GrantedHold) else "refused"] += 1

        async with anyio.create_task_group() as tasks:
            for leaf in leaves:
                tasks.start_soon(call, leaf)
        assert registry.budget("t").spent.tokens == answers["made"] * 10

    run(main, seed=seed)
    record_property("overspent tokens", max(0, most - fits * 10))
    record_property("callers without an answer", BRANCHES * DEPTH - answers.total())
    assert answers == {"made": fits, "refused": BRANCHES * DEPTH - fits}
    assert most <= fits * 10


@pytest.mark.parametrize("seed", range(2))
def test_cancelled_calls_leave_nothing_held_and_nothing_unsettled(seed: int, record_property: Record) -> None:
    """However often, by whatever way and at whatever await a call is cancelled, it is charged or given back."""
    cancelled = 0
    provider = ScriptedProvider(["one two three"], latency_s=1)

    async def main() -> None:
        nonlocal cancelled
        chance, registry = random.Random(seed), opened(3_000, wait_s=2)
        clock, journal = VirtualClock(), MemoryJournal()
        router = routed(provider, registry, journal, clock)

        async def call() -> None:
            request = CompletionRequest(model="", messages=(ChatMessage("user", "x"),), max_output_tokens=8)
            asked = Call(spender=Spender("t", "a", "main"), root_thread_id="t", request=request)
            with anyio.move_on_after(chance.choice((0.5, 1.5, 1000))), suppress(BudgetExhaustedError):
                await router.complete(asked)

        async with router:
            tasks = [asyncio.create_task(call()) for _ in range(1_000)]
            for task in tasks:
                for _ in range(chance.randint(1, 5)):
                    if chance.random() < 0.5:
                        await anyio.sleep(chance.random() / 500)
                    cancelled += task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            assert [each for each in ended if isinstance(each, Exception)] == []
        state = registry.budget("t")
        record_property("holds left", len(registry.open_holds()) + registry.statistics().waiting)
        record_property("recorded less than billed", max(0, provider.billed.total - state.spent.tokens))
        assert (registry.open_holds(), registry.statistics().waiting, state.held) == ((), 0, Amounts())
        assert state.spent.tokens >= provider.billed.total
        assert router.open_attempts == ()

    run(main, seed=seed)
    record_property("cancellations", cancelled)
    assert cancelled >= 1_000


def routed(
    provider: ScriptedProvider, registry: ThreadBudgetRegistry, journal: MemoryJournal, clock: VirtualClock
) -> LLMRouter:
    """Return a router over one provider."""
    from organism.router.planning.plan import ModelPlan, Route

    return LLMRouter(
        RouterSpec(
            models={"main": ModelPlan(name="main", routes=(Route(provider.name, "m"),))},
            providers={provider.name: provider},
            prices=Free(),
            settings=RouterSettings(calls_in_flight=1000, estimate="strict", drain_s=5),
        ),
        registry=registry,
        outbox=Outbox(journal, lambda _event: None, clock),
        clock=clock,
        ids=SequentialIds(),
    )


class Free:
    """Knows no price."""

    def rates(self, _provider: str, _model: str) -> Any:
        return None


@pytest.mark.parametrize("seed", range(20))
def test_thresholds_are_told_once_and_ascending(seed: int, record_property: Record) -> None:
    """A hundred settlements in one instant across three thresholds: each is one entry, the lower ones first."""
    entries: list[AnyEntry] = []

    async def main() -> None:
        registry = opened(1_000, entries)
        held = [await registry.reserve(Spender("t", "a", "m"), ask(10)) for _ in range(100)]

        async def settle(call: GrantedHold | Refusal | None) -> None:
            assert isinstance(call, GrantedHold)
            await anyio.sleep(1)
            registry.settle(call, Amounts(10, 0, 1), Cost(), "a")

        async with anyio.create_task_group() as tasks:
            for call in held:
                tasks.start_soon(settle, call)

    run(main, seed=seed)
    told = [entry.threshold for entry in entries if isinstance(entry, ThresholdFired)]
    record_property("warnings for one threshold", max(Counter(told).values()))
    record_property("out of order", sum(one > other for one, other in pairwise(told)))
    assert told == [75, 90, 95]


@pytest.mark.parametrize("seed", range(5))
def test_calls_are_admitted_by_the_limits_of_their_moment(seed: int, record_property: Record) -> None:
    """While a limit is raised and lowered and the mode switched, no call is admitted beyond the limit that applies."""
    beyond, changes = 0, 0

    async def main() -> None:
        nonlocal beyond, changes
        chance, registry = random.Random(seed), opened(500, wait_s=1)
        limit = 500

        async def change() -> None:
            nonlocal limit, changes
            for _ in range(1_000):
                limit = chance.randint(0, 1_000)
                registry.set_limits("thread:t", Limits(tokens=limit))
                registry.mode = chance.choice(("enforce", "enforce", "audit"))
                changes += 1
                await anyio.sleep(0.001)

        async def call() -> None:
            nonlocal beyond
            for _ in range(40):
                held = await registry.reserve(Spender("t", "a", "m"), ask(chance.randint(2, 60)))
                if isinstance(held, GrantedHold):
                    await anyio.sleep(chance.random() / 100)
                    registry.settle(held, Amounts(0, 0, 1), Cost())
                await anyio.sleep(chance.random() / 100)

        admit = registry._engine._ledger.reserve

        def watched(hold_id: str, accounts: tuple[str, ...], amounts: Amounts, *rest: Any) -> Any:
            nonlocal beyond
            state = registry.budget("t")
            if registry.mode == "enforce" and state.spent.tokens + state.held.tokens + amounts.tokens > limit:
                beyond += 1
            return admit(hold_id, accounts, amounts, *rest)

        registry._engine._ledger.reserve = watched  # type: ignore[assignment, method-assign]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(change)
            for _ in range(50):
                tasks.start_soon(call)
        assert registry.budget("t").held == Amounts()

    run(main, seed=seed)
    record_property("admitted beyond the limit", beyond)
    record_property("changes", changes)
    assert (beyond, changes) == (0, 1_000)
